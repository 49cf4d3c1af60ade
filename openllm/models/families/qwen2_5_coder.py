"""Qwen 2.5 trained to write code, by Alibaba Cloud: it calls tools as the chat models do."""

from openllm.models.base import LLMConfig, ModelCard


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
    patterns = ("*/qwen2.5-coder-*",)
    default_id = "Qwen/Qwen2.5-Coder-32B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    license = "apache-2.0"
