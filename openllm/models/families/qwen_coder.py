"""Qwen 3 trained to write code, by Alibaba Cloud: the chat models' architectures."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class QwenCoderConfig(LLMConfig):
    name = "qwen_coder"
    title = "Qwen Coder"
    architectures = ("Qwen3MoeForCausalLM", "Qwen3NextForCausalLM")
    by_id_only = True
    models = {
        "Qwen/Qwen3-Coder-30B-A3B-Instruct": ModelCard(30.5e9, 262_144, active=3.3e9),
        "Qwen/Qwen3-Coder-480B-A35B-Instruct": ModelCard(480e9, 262_144, active=35e9),
        "Qwen/Qwen3-Coder-Next": ModelCard(79.7e9, 262_144, active=3e9),
    }
    shapes = {
        "Qwen/Qwen3-Coder-30B-A3B-Instruct": KnownShape(
            48, 2048, 32, 4, 6144, 151_936, head_dim=128, experts=128, taken=8, expert_width=768
        ),
        "Qwen/Qwen3-Coder-480B-A35B-Instruct": KnownShape(
            62, 6144, 96, 8, 8192, 151_936, head_dim=128, experts=160, taken=8, expert_width=2560
        ),
    }
    topics = {"code": ("*",)}
    patterns = ("*/qwen3-coder-*",)
    default_id = "Qwen/Qwen3-Coder-30B-A3B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "qwen3_coder"
    license = "apache-2.0"
