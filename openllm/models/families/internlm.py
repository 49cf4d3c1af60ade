"""InternLM 2 and 3, by the Shanghai AI Laboratory: vLLM has classes for them."""

from openllm.models.base import LLMConfig, ModelCard


class InternLMConfig(LLMConfig):
    name = "internlm"
    title = "InternLM"
    architectures = ("InternLM3ForCausalLM", "InternLM2ForCausalLM")
    models = {
        "internlm/internlm3-8b-instruct": ModelCard(8.80e9, 32768),
        "internlm/internlm2_5-1_8b-chat": ModelCard(1.89e9, 32768, license="other"),
        "internlm/internlm2_5-7b-chat": ModelCard(7.74e9, 32768, license="other"),
        "internlm/internlm2_5-20b-chat": ModelCard(19.9e9, 32768, license="other"),
    }
    patterns = ("internlm/internlm3-*", "internlm/internlm2*")
    default_id = "internlm/internlm3-8b-instruct"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "wqkv", "wo", "w1", "w2", "w3")
    backends = ("vllm",)
    license = "apache-2.0"
