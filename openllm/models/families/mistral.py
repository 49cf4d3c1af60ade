"""Mistral 7B, Nemo and Small, by Mistral AI; the later Small read images too."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_24B = KnownShape(40, 5120, 32, 8, 32768, 131_072, head_dim=128)
_7B_OF_WINDOWS = KnownShape(32, 4096, 32, 8, 14336, 32000, window=4096)
_7B = KnownShape(32, 4096, 32, 8, 14336, 32768)


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
    shapes = {
        "mistralai/Mistral-7B-Instruct-v0.3": _7B,
        "mistralai/Mistral-7B-v0.3": _7B,
        "mistralai/Mistral-7B-Instruct-v0.2": KnownShape(32, 4096, 32, 8, 14336, 32000),
        "mistralai/Mistral-7B-Instruct-v0.1": _7B_OF_WINDOWS,
        "mistralai/Mistral-7B-v0.1": _7B_OF_WINDOWS,
        "mistralai/Mistral-Nemo-Instruct-2407": KnownShape(
            40, 5120, 32, 8, 14336, 131_072, head_dim=128
        ),
        "mistralai/Mistral-Small-24B-Instruct-2501": _24B,
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506": _24B,
    }
    topics = {"vision": ("*/mistral-small-3.[12]*",)}
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
