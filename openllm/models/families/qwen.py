"""Qwen 2, 2.5 and 3, dense and mixture of experts, by Alibaba Cloud."""

from openllm.models.base import LLMConfig


class QwenConfig(LLMConfig):
    name = "qwen"
    title = "Qwen"
    aliases = ("qwen2", "qwen3")
    architectures = (
        "Qwen3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3MoeForCausalLM",
        "Qwen2MoeForCausalLM",
    )
    model_ids = (
        "Qwen/Qwen3-0.6B",
        "Qwen/Qwen3-1.7B",
        "Qwen/Qwen3-4B",
        "Qwen/Qwen3-8B",
        "Qwen/Qwen3-14B",
        "Qwen/Qwen3-32B",
        "Qwen/Qwen3-4B-Instruct-2507",
        "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Qwen/Qwen2.5-1.5B-Instruct",
        "Qwen/Qwen2.5-3B-Instruct",
        "Qwen/Qwen2.5-7B-Instruct",
        "Qwen/Qwen2.5-14B-Instruct",
        "Qwen/Qwen2.5-32B-Instruct",
        "Qwen/Qwen2.5-72B-Instruct",
        "Qwen/Qwen2-0.5B-Instruct",
        "Qwen/Qwen2-7B-Instruct",
    )
    patterns = (
        "qwen/qwen[23]-[0-9]*b*",
        "qwen/qwen2.5-[0-9]*b*",
        "*/qwen[23]-[0-9]*b*",
        "*/qwen2.5-[0-9]*b*",
    )
    default_id = "Qwen/Qwen3-0.6B"
    sampling = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    reasoning_format = "think"  # Qwen 2 does not think, and none is found in its answers
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "apache-2.0"
