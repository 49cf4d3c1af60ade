"""Qwen3-Next, by Alibaba Cloud: a mixture of experts whose layers mostly keep a state."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class Qwen3NextConfig(LLMConfig):
    name = "qwen3_next"
    title = "Qwen3-Next"
    architectures = ("Qwen3NextForCausalLM",)
    models = {
        "Qwen/Qwen3-Next-80B-A3B-Instruct": ModelCard(81.3e9, 262_144, active=3e9),
        "Qwen/Qwen3-Next-80B-A3B-Thinking": ModelCard(81.3e9, 262_144, active=3e9),
    }
    patterns = ("*/qwen3-next-*",)
    marks = (FamilyMarks(("<|im_start|>", "<tool_call>"), ("<|im_start|>", "<|box_start|>")),)
    default_id = "Qwen/Qwen3-Next-80B-A3B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "hermes"
    reasoning_format = "think"
    license = "apache-2.0"
