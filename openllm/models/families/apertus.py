"""Apertus, by the Swiss AI Initiative: open data, over a thousand languages."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class ApertusConfig(LLMConfig):
    name = "apertus"
    title = "Apertus"
    architectures = ("ApertusForCausalLM",)
    models = {
        "swiss-ai/Apertus-8B-Instruct-2509": ModelCard(8.05e9, 65536),
        "swiss-ai/Apertus-70B-Instruct-2509": ModelCard(70.6e9, 65536),
        "swiss-ai/Apertus-8B-2509": ModelCard(8.05e9, 65536),
        "swiss-ai/Apertus-70B-2509": ModelCard(70.6e9, 65536),
    }
    patterns = ("*/apertus-*b-*",)
    marks = (
        FamilyMarks(
            ("<|assistant_start|>", "<|assistant_end|>"),
            ("<|assistant_start|>", "<|assistant_end|>"),
        ),
    )
    default_id = "swiss-ai/Apertus-8B-Instruct-2509"
    sampling = {"temperature": 0.8, "top_p": 0.9}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    license = "apache-2.0"
