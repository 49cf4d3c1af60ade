"""StableLM 2 and 3B, by Stability AI."""

from openllm.models.base import LLMConfig, ModelCard


class StableLMConfig(LLMConfig):
    name = "stablelm"
    title = "StableLM"
    architectures = ("StableLmForCausalLM",)
    models = {
        "stabilityai/stablelm-2-zephyr-1_6b": ModelCard(1.64e9, 4096),
        "stabilityai/stablelm-2-1_6b-chat": ModelCard(1.64e9, 4096),
        "stabilityai/stablelm-2-12b-chat": ModelCard(12.1e9, 4096),
        "stabilityai/stablelm-zephyr-3b": ModelCard(2.80e9, 4096),
        "stabilityai/stablelm-3b-4e1t": ModelCard(2.80e9, 4096, license="cc-by-sa-4.0"),
    }
    patterns = ("stabilityai/stablelm-*",)
    default_id = "stabilityai/stablelm-2-zephyr-1_6b"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    license = "stabilityai-ai-community"
