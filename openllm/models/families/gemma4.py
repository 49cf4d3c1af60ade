"""Gemma 4, by Google: reads images too, the small ones also sound."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class Gemma4Config(LLMConfig):
    name = "gemma4"
    title = "Gemma 4"
    architectures = ("Gemma4ForConditionalGeneration", "Gemma4ForCausalLM")
    models = {
        "google/gemma-4-E2B-it": ModelCard(5.1e9, 131_072, active=2.3e9),
        "google/gemma-4-E4B-it": ModelCard(8.0e9, 131_072, active=4.5e9),
        "google/gemma-4-26B-A4B-it": ModelCard(26.5e9, 262_144, active=3.8e9),
        "google/gemma-4-31B-it": ModelCard(31.3e9, 262_144),
    }
    topics = {"vision": ("*",)}
    patterns = ("*/gemma-4-*",)
    marks = (FamilyMarks(("<|turn>", "<turn|>"), ("<|turn>", "<turn|>")),)
    default_id = "google/gemma-4-E2B-it"
    sampling = {"temperature": 1.0, "top_p": 0.95, "top_k": 64}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "gemma4"
    reasoning_format = "gemma4"
    license = "apache-2.0"
