"""Gemma 1, 2 and 3, by Google."""

from openllm.models.base import LLMConfig


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
    model_ids = (
        "google/gemma-3-1b-it",
        "google/gemma-3-270m-it",
        "google/gemma-3-4b-it",
        "google/gemma-3-12b-it",
        "google/gemma-3-27b-it",
        "google/gemma-2-2b-it",
        "google/gemma-2-9b-it",
        "google/gemma-2-27b-it",
        "google/gemma-2b-it",
        "google/gemma-7b-it",
    )
    patterns = ("google/gemma-[0-9]b*", "*/gemma-[23]-*")
    default_id = "google/gemma-3-1b-it"
    sampling = {"top_k": 64, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    license = "gemma"
