"""Gemma 1, 2 and 3, by Google."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class GemmaConfig(LLMConfig):
    name = "gemma"
    title = "Gemma"
    aliases = ("gemma2", "gemma3")
    architectures = (
        "Gemma3ForCausalLM",
        "Gemma2ForCausalLM",
        "GemmaForCausalLM",
        "Gemma3ForConditionalGeneration",  # 4B and larger read images too
    )
    models = {
        "google/gemma-3-1b-it": ModelCard(1.0e9, 32768),
        "google/gemma-3-270m-it": ModelCard(268e6, 32768),
        "google/gemma-3-4b-it": ModelCard(4.3e9, 131_072),
        "google/gemma-3-12b-it": ModelCard(12.2e9, 131_072),
        "google/gemma-3-27b-it": ModelCard(27.4e9, 131_072),
        "google/gemma-2-2b-it": ModelCard(2.61e9, 8192),
        "google/gemma-2-9b-it": ModelCard(9.24e9, 8192),
        "google/gemma-2-27b-it": ModelCard(27.2e9, 8192),
        "google/gemma-2b-it": ModelCard(2.51e9, 8192),
        "google/gemma-7b-it": ModelCard(8.54e9, 8192),
    }
    patterns = ("google/gemma-[0-9]b*", "*/gemma-[23]-*")
    marks = (
        FamilyMarks(("<start_of_turn>", "<end_of_turn>"), ("<start_of_turn>", "<end_of_turn>")),
    )
    default_id = "google/gemma-3-1b-it"
    sampling = {"top_k": 64, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    license = "gemma"
