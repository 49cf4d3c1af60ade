"""Qwen 2, 2.5 and 3, dense and mixture of experts, by Alibaba Cloud."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_4B = KnownShape(36, 2560, 32, 8, 9728, 151_936, head_dim=128, tied=True)
_30B = KnownShape(
    48, 2048, 32, 4, 6144, 151_936, head_dim=128, experts=128, taken=8, expert_width=768
)
_235B = KnownShape(
    94, 4096, 64, 4, 12288, 151_936, head_dim=128, experts=128, taken=8, expert_width=1536
)
_QWEN2_500M = KnownShape(24, 896, 14, 2, 4864, 151_936, tied=True)
_QWEN2_7B = KnownShape(28, 3584, 28, 4, 18944, 152_064)


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
    shapes = {
        "Qwen/Qwen3-0.6B": KnownShape(28, 1024, 16, 8, 3072, 151_936, head_dim=128, tied=True),
        "Qwen/Qwen3-1.7B": KnownShape(28, 2048, 16, 8, 6144, 151_936, tied=True),
        "Qwen/Qwen3-4B": _4B,
        "Qwen/Qwen3-8B": KnownShape(36, 4096, 32, 8, 12288, 151_936),
        "Qwen/Qwen3-14B": KnownShape(40, 5120, 40, 8, 17408, 151_936),
        "Qwen/Qwen3-32B": KnownShape(64, 5120, 64, 8, 25600, 151_936, head_dim=128),
        "Qwen/Qwen3-4B-Instruct-2507": _4B,
        "Qwen/Qwen3-4B-Thinking-2507": _4B,
        "Qwen/Qwen3-30B-A3B": _30B,
        "Qwen/Qwen3-30B-A3B-Instruct-2507": _30B,
        "Qwen/Qwen3-30B-A3B-Thinking-2507": _30B,
        "Qwen/Qwen3-235B-A22B": _235B,
        "Qwen/Qwen3-235B-A22B-Instruct-2507": _235B,
        "Qwen/Qwen2.5-0.5B-Instruct": _QWEN2_500M,
        "Qwen/Qwen2-0.5B-Instruct": _QWEN2_500M,
        "Qwen/Qwen2.5-1.5B-Instruct": KnownShape(28, 1536, 12, 2, 8960, 151_936, tied=True),
        "Qwen/Qwen2.5-3B-Instruct": KnownShape(36, 2048, 16, 2, 11008, 151_936, tied=True),
        "Qwen/Qwen2.5-7B-Instruct": _QWEN2_7B,
        "Qwen/Qwen2-7B-Instruct": _QWEN2_7B,
        "Qwen/Qwen2.5-14B-Instruct": KnownShape(48, 5120, 40, 8, 13824, 152_064),
        "Qwen/Qwen2.5-32B-Instruct": KnownShape(64, 5120, 40, 8, 27648, 152_064),
        "Qwen/Qwen2.5-72B-Instruct": KnownShape(80, 8192, 64, 8, 29568, 152_064),
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
