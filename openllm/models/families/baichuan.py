"""Baichuan M2 and M3: medicine, on the architectures of Qwen; Baichuan 2 is in pickles only."""

from openllm.models.base import LLMConfig, ModelCard


class BaichuanConfig(LLMConfig):
    name = "baichuan"
    title = "Baichuan"
    architectures = ("Qwen2ForCausalLM", "Qwen3MoeForCausalLM")
    by_id_only = True
    models = {
        "baichuan-inc/Baichuan-M2-32B": ModelCard(32.8e9, 131_072),
        "baichuan-inc/Baichuan-M3-235B": ModelCard(235e9, 262_144, active=22e9),
    }
    patterns = ("baichuan-inc/baichuan-m[23]-*",)
    default_id = "baichuan-inc/Baichuan-M2-32B"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    reasoning_format = "think"
    license = "apache-2.0"
