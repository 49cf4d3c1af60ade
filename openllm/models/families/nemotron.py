"""Nemotron, by NVIDIA: hybrids of attention and Mamba 2, and Llama trained on."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class NemotronConfig(LLMConfig):
    name = "nemotron"
    title = "Nemotron"
    architectures = ("NemotronHForCausalLM", "NemotronForCausalLM")
    models = {
        "nvidia/NVIDIA-Nemotron-Nano-9B-v2": ModelCard(8.89e9, 131_072),
        "nvidia/NVIDIA-Nemotron-Nano-12B-v2": ModelCard(12.3e9, 131_072),
        "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": ModelCard(
            31.6e9, 262_144, active=3.5e9, license="nvidia-nemotron-open-model-license"
        ),
        "nvidia/Llama-3.1-Nemotron-Nano-8B-v1": ModelCard(8.03e9, 131_072),
        "nvidia/Llama-3_3-Nemotron-Super-49B-v1_5": ModelCard(49.9e9, 131_072),
    }
    patterns = ("nvidia/nvidia-nemotron-*",)
    marks = (FamilyMarks(("<SPECIAL_10>", "<SPECIAL_11>"), ("<SPECIAL_10>", "<SPECIAL_11>")),)
    default_id = "nvidia/NVIDIA-Nemotron-Nano-9B-v2"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "up_proj",
        "down_proj",
        "in_proj",
        "out_proj",
    )
    tool_format = "nemotron"
    reasoning_format = "think"
    license = "nvidia-open-model-license"
