"""Yi, by 01.AI: Llama's architecture, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard


class YiConfig(LLMConfig):
    name = "yi"
    title = "Yi"
    architectures = ("LlamaForCausalLM",)
    by_id_only = True
    models = {
        "01-ai/Yi-1.5-6B-Chat": ModelCard(6.06e9, 4096),
        "01-ai/Yi-1.5-9B-Chat": ModelCard(8.83e9, 4096),
        "01-ai/Yi-1.5-9B-Chat-16K": ModelCard(8.83e9, 16384),
        "01-ai/Yi-1.5-34B-Chat": ModelCard(34.4e9, 4096),
        "01-ai/Yi-6B-Chat": ModelCard(6.06e9, 4096),
        "01-ai/Yi-34B-Chat": ModelCard(34.4e9, 4096),
    }
    patterns = ("01-ai/yi-*",)
    default_id = "01-ai/Yi-1.5-6B-Chat"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    license = "apache-2.0"
