"""Qwen 3.5 and 3.6, by Alibaba Cloud: most layers keep a state; they read images too."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class Qwen35Config(LLMConfig):
    name = "qwen3_5"
    title = "Qwen 3.5"
    architectures = ("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration")
    models = {
        "Qwen/Qwen3.5-0.8B": ModelCard(873e6, 262_144),
        "Qwen/Qwen3.5-2B": ModelCard(2.27e9, 262_144),
        "Qwen/Qwen3.5-4B": ModelCard(4.66e9, 262_144),
        "Qwen/Qwen3.5-9B": ModelCard(9.65e9, 262_144),
        "Qwen/Qwen3.5-27B": ModelCard(27.8e9, 262_144),
        "Qwen/Qwen3.5-35B-A3B": ModelCard(36.0e9, 262_144, active=3e9),
        "Qwen/Qwen3.5-122B-A10B": ModelCard(125e9, 262_144, active=10e9),
        "Qwen/Qwen3.5-397B-A17B": ModelCard(403e9, 262_144, active=17e9),
        "Qwen/Qwen3.6-35B-A3B": ModelCard(36.0e9, 262_144, active=3e9),
    }
    topics = {"vision": ("*",)}
    patterns = ("*/qwen3.[56]-[0-9]*b*",)
    marks = (FamilyMarks(("<|im_start|>", "<function="), ("<|im_start|>", "<|vision_start|>")),)
    default_id = "Qwen/Qwen3.5-4B"
    sampling = {"temperature": 1.0, "top_p": 0.95, "top_k": 20}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "qwen3_coder"
    reasoning_format = "think"
    license = "apache-2.0"
