"""Qwen 2.5 trained to write code, by Alibaba Cloud: it calls tools as the chat models do."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class Qwen25CoderConfig(LLMConfig):
    name = "qwen2_5_coder"
    title = "Qwen 2.5 Coder"
    architectures = ("Qwen2ForCausalLM",)
    by_id_only = True
    models = {
        "Qwen/Qwen2.5-Coder-0.5B-Instruct": ModelCard(494e6, 32768),
        "Qwen/Qwen2.5-Coder-1.5B-Instruct": ModelCard(1.54e9, 32768),
        "Qwen/Qwen2.5-Coder-3B-Instruct": ModelCard(3.09e9, 32768, license="qwen-research"),
        "Qwen/Qwen2.5-Coder-7B-Instruct": ModelCard(7.62e9, 32768),
        "Qwen/Qwen2.5-Coder-14B-Instruct": ModelCard(14.8e9, 32768),
        "Qwen/Qwen2.5-Coder-32B-Instruct": ModelCard(32.8e9, 32768),
    }
    shapes = {
        "Qwen/Qwen2.5-Coder-0.5B-Instruct": KnownShape(24, 896, 14, 2, 4864, 151_936, tied=True),
        "Qwen/Qwen2.5-Coder-1.5B-Instruct": KnownShape(28, 1536, 12, 2, 8960, 151_936, tied=True),
        "Qwen/Qwen2.5-Coder-3B-Instruct": KnownShape(36, 2048, 16, 2, 11008, 151_936, tied=True),
        "Qwen/Qwen2.5-Coder-7B-Instruct": KnownShape(28, 3584, 28, 4, 18944, 152_064),
        "Qwen/Qwen2.5-Coder-14B-Instruct": KnownShape(48, 5120, 40, 8, 13824, 152_064),
        "Qwen/Qwen2.5-Coder-32B-Instruct": KnownShape(64, 5120, 40, 8, 27648, 152_064),
    }
    topics = {"code": ("*",)}
    patterns = ("*/qwen2.5-coder-*",)
    default_id = "Qwen/Qwen2.5-Coder-32B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    license = "apache-2.0"
