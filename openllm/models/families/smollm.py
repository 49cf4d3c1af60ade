"""SmolLM 2 and 3, by Hugging Face."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class SmolLMConfig(LLMConfig):
    name = "smollm"
    title = "SmolLM"
    aliases = ("smollm3",)
    architectures = ("SmolLM3ForCausalLM",)
    models = {
        "HuggingFaceTB/SmolLM3-3B": ModelCard(3.08e9, 65536),
        "HuggingFaceTB/SmolLM2-135M-Instruct": ModelCard(135e6, 8192),
        "HuggingFaceTB/SmolLM2-360M-Instruct": ModelCard(362e6, 8192),
        "HuggingFaceTB/SmolLM2-1.7B-Instruct": ModelCard(1.71e9, 8192),
    }
    shapes = {
        "HuggingFaceTB/SmolLM3-3B": KnownShape(36, 2048, 16, 4, 11008, 128_256, tied=True),
        "HuggingFaceTB/SmolLM2-135M-Instruct": KnownShape(30, 576, 9, 3, 1536, 49152, tied=True),
        "HuggingFaceTB/SmolLM2-360M-Instruct": KnownShape(32, 960, 15, 5, 2560, 49152, tied=True),
        "HuggingFaceTB/SmolLM2-1.7B-Instruct": KnownShape(24, 2048, 32, 32, 8192, 49152, tied=True),
    }
    patterns = ("*/smollm3-*", "*/smollm2-*")
    marks = (FamilyMarks(("<|im_start|>", "/no_think"), ("<|im_start|>",)),)
    default_id = "HuggingFaceTB/SmolLM3-3B"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    reasoning_format = "think"
    license = "apache-2.0"
