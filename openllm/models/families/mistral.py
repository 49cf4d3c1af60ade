"""Mistral 7B, Nemo and Small, by Mistral AI; the later Small read images too."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class MistralConfig(LLMConfig):
    name = "mistral"
    title = "Mistral"
    architectures = ("MistralForCausalLM", "Mistral3ForConditionalGeneration")
    models = {
        "mistralai/Mistral-7B-Instruct-v0.3": ModelCard(7.25e9, 32768),
        "mistralai/Mistral-7B-Instruct-v0.2": ModelCard(7.24e9, 32768),
        "mistralai/Mistral-7B-Instruct-v0.1": ModelCard(7.24e9, 32768),
        "mistralai/Mistral-7B-v0.3": ModelCard(7.25e9, 32768),
        "mistralai/Mistral-7B-v0.1": ModelCard(7.24e9, 32768),
        "mistralai/Mistral-Nemo-Instruct-2407": ModelCard(12.2e9, 131_072),
        "mistralai/Mistral-Small-24B-Instruct-2501": ModelCard(23.6e9, 32768),
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506": ModelCard(24.0e9, 131_072),
    }
    patterns = (
        "mistralai/mistral-7b-*",
        "mistralai/mistral-nemo-*",
        "*/mistral-7b-*",
        "mistralai/mistral-small-*",
        "*/mistral-nemo-*",
    )
    marks = (FamilyMarks(("[INST]", "[/INST]"), ("[INST]", "[/INST]", "[TOOL_CALLS]")),)
    default_id = "mistralai/Mistral-7B-Instruct-v0.3"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "mistral"
    license = "apache-2.0"
