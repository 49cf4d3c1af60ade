"""Hunyuan, by Tencent: dense models and a mixture of experts."""

from openllm.models.base import LLMConfig, ModelCard


class HunyuanConfig(LLMConfig):
    name = "hunyuan"
    title = "Hunyuan"
    architectures = ("HunYuanDenseV1ForCausalLM", "HunYuanMoEV1ForCausalLM")
    models = {
        "tencent/Hunyuan-0.5B-Instruct": ModelCard(539e6, 262_144),
        "tencent/Hunyuan-1.8B-Instruct": ModelCard(1.79e9, 262_144),
        "tencent/Hunyuan-4B-Instruct": ModelCard(4.02e9, 262_144),
        "tencent/Hunyuan-7B-Instruct": ModelCard(7.50e9, 262_144),
        "tencent/Hunyuan-A13B-Instruct": ModelCard(
            80.4e9, 32768, active=13e9, license="tencent-hunyuan-a13b"
        ),
    }
    patterns = ("tencent/hunyuan-*b-instruct*",)
    default_id = "tencent/Hunyuan-0.5B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    reasoning_format = "think"
    license = "tencent-hunyuan-community"
