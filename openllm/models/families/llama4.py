"""Llama 4, by Meta: mixtures of experts that read images too."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class Llama4Config(LLMConfig):
    name = "llama4"
    title = "Llama 4"
    architectures = ("Llama4ForConditionalGeneration", "Llama4ForCausalLM")
    models = {
        "meta-llama/Llama-4-Scout-17B-16E-Instruct": ModelCard(109e9, 10_485_760, active=17e9),
        "meta-llama/Llama-4-Maverick-17B-128E-Instruct": ModelCard(402e9, 1_048_576, active=17e9),
    }
    topics = {"vision": ("*",)}
    patterns = ("*/llama-4-*",)
    marks = (FamilyMarks(("<|header_start|>", "<|eot|>"), ("<|header_start|>", "<|eot|>")),)
    default_id = "meta-llama/Llama-4-Scout-17B-16E-Instruct"
    sampling = {"temperature": 0.6, "top_p": 0.9}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "pythonic"
    license = "llama4"
