"""Qwen 2, 2.5 and 3, dense and mixture of experts, by Alibaba Cloud."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


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
    models = {
        "Qwen/Qwen3-0.6B": ModelCard(752e6, 40960),
        "Qwen/Qwen3-1.7B": ModelCard(2.03e9, 40960),
        "Qwen/Qwen3-4B": ModelCard(4.02e9, 40960),
        "Qwen/Qwen3-8B": ModelCard(8.19e9, 40960),
        "Qwen/Qwen3-14B": ModelCard(14.8e9, 40960),
        "Qwen/Qwen3-32B": ModelCard(32.8e9, 40960),
        "Qwen/Qwen3-4B-Instruct-2507": ModelCard(4.02e9, 262_144),
        "Qwen/Qwen3-4B-Thinking-2507": ModelCard(4.02e9, 262_144),
        "Qwen/Qwen3-30B-A3B": ModelCard(30.5e9, 40960, active=3.3e9),
        "Qwen/Qwen3-30B-A3B-Instruct-2507": ModelCard(30.5e9, 262_144, active=3.3e9),
        "Qwen/Qwen3-30B-A3B-Thinking-2507": ModelCard(30.5e9, 262_144, active=3.3e9),
        "Qwen/Qwen3-235B-A22B": ModelCard(235e9, 40960, active=22e9),
        "Qwen/Qwen3-235B-A22B-Instruct-2507": ModelCard(235e9, 262_144, active=22e9),
        "Qwen/Qwen2.5-0.5B-Instruct": ModelCard(494e6, 32768),
        "Qwen/Qwen2.5-1.5B-Instruct": ModelCard(1.54e9, 32768),
        "Qwen/Qwen2.5-3B-Instruct": ModelCard(3.09e9, 32768, license="qwen-research"),
        "Qwen/Qwen2.5-7B-Instruct": ModelCard(7.62e9, 32768),
        "Qwen/Qwen2.5-14B-Instruct": ModelCard(14.8e9, 32768),
        "Qwen/Qwen2.5-32B-Instruct": ModelCard(32.8e9, 32768),
        "Qwen/Qwen2.5-72B-Instruct": ModelCard(72.7e9, 32768, license="qwen"),
        "Qwen/Qwen2-0.5B-Instruct": ModelCard(494e6, 32768),
        "Qwen/Qwen2-7B-Instruct": ModelCard(7.62e9, 32768),
    }
    patterns = (
        "qwen/qwen[23]-[0-9]*b*",
        "qwen/qwen2.5-[0-9]*b*",
        "*/qwen[23]-[0-9]*b*",
        "*/qwen2.5-[0-9]*b*",
    )
    marks = (FamilyMarks(("<|im_start|>", "<|im_end|>"), ("<|im_start|>", "<|box_start|>")),)
    default_id = "Qwen/Qwen3-0.6B"
    sampling = {"temperature": 0.6, "top_p": 0.95, "top_k": 20}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    reasoning_format = "think"  # Qwen 2 does not think, and none is found in its answers
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "apache-2.0"
