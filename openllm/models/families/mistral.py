"""Mistral's dense text models, by Mistral AI."""

from openllm.models.base import LLMConfig


class MistralConfig(LLMConfig):
    name = "mistral"
    title = "Mistral"
    aliases = ("ministral",)
    architectures = ("MistralForCausalLM",)
    model_ids = (
        "mistralai/Mistral-7B-Instruct-v0.3",
        "mistralai/Mistral-7B-Instruct-v0.2",
        "mistralai/Mistral-7B-Instruct-v0.1",
        "mistralai/Mistral-7B-v0.3",
        "mistralai/Mistral-7B-v0.1",
        "mistralai/Mistral-Nemo-Instruct-2407",
        "mistralai/Ministral-8B-Instruct-2410",
        "mistralai/Mistral-Small-24B-Instruct-2501",
    )
    patterns = (
        "mistralai/mistral-7b-*",
        "mistralai/mistral-nemo-*",
        "*/mistral-7b-*",
        "*/mistral-nemo-*",
    )
    default_id = "mistralai/Mistral-7B-Instruct-v0.3"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "mistral"
    license = "apache-2.0"
