"""Qwen that reads images and video, by Alibaba Cloud: 2, 2.5 and 3."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_7B = KnownShape(28, 3584, 28, 4, 18944, 152_064)


class QwenVLConfig(LLMConfig):
    name = "qwen_vl"
    title = "Qwen-VL"
    architectures = (
        "Qwen3VLForConditionalGeneration",
        "Qwen3VLMoeForConditionalGeneration",
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2VLForConditionalGeneration",
    )
    models = {
        "Qwen/Qwen3-VL-2B-Instruct": ModelCard(2.13e9, 262_144),
        "Qwen/Qwen3-VL-4B-Instruct": ModelCard(4.44e9, 262_144),
        "Qwen/Qwen3-VL-8B-Instruct": ModelCard(8.77e9, 262_144),
        "Qwen/Qwen3-VL-32B-Instruct": ModelCard(33.4e9, 262_144),
        "Qwen/Qwen3-VL-30B-A3B-Instruct": ModelCard(31.1e9, 262_144, active=3.3e9),
        "Qwen/Qwen2.5-VL-3B-Instruct": ModelCard(3.75e9, 128_000, license="qwen-research"),
        "Qwen/Qwen2.5-VL-7B-Instruct": ModelCard(8.29e9, 128_000),
        "Qwen/Qwen2.5-VL-32B-Instruct": ModelCard(33.5e9, 128_000),
        "Qwen/Qwen2.5-VL-72B-Instruct": ModelCard(73.4e9, 128_000, license="qwen"),
        "Qwen/Qwen2-VL-2B-Instruct": ModelCard(2.21e9, 32768),
        "Qwen/Qwen2-VL-7B-Instruct": ModelCard(8.29e9, 32768),
    }
    shapes = {
        "Qwen/Qwen3-VL-2B-Instruct": KnownShape(28, 2048, 16, 8, 6144, 151_936, tied=True),
        "Qwen/Qwen3-VL-4B-Instruct": KnownShape(
            36, 2560, 32, 8, 9728, 151_936, head_dim=128, tied=True
        ),
        "Qwen/Qwen3-VL-8B-Instruct": KnownShape(36, 4096, 32, 8, 12288, 151_936),
        "Qwen/Qwen3-VL-32B-Instruct": KnownShape(64, 5120, 64, 8, 25600, 151_936, head_dim=128),
        "Qwen/Qwen3-VL-30B-A3B-Instruct": KnownShape(
            48, 2048, 32, 4, 6144, 151_936, head_dim=128, experts=128, taken=8, expert_width=768
        ),
        "Qwen/Qwen2.5-VL-3B-Instruct": KnownShape(36, 2048, 16, 2, 11008, 151_936, tied=True),
        "Qwen/Qwen2.5-VL-7B-Instruct": _7B,
        "Qwen/Qwen2.5-VL-32B-Instruct": KnownShape(64, 5120, 40, 8, 27648, 152_064),
        "Qwen/Qwen2.5-VL-72B-Instruct": KnownShape(80, 8192, 64, 8, 29568, 152_064),
        "Qwen/Qwen2-VL-2B-Instruct": KnownShape(28, 1536, 12, 2, 8960, 151_936, tied=True),
        "Qwen/Qwen2-VL-7B-Instruct": _7B,
    }
    topics = {"vision": ("*",)}
    patterns = ("*/qwen3-vl-[0-9]*", "*/qwen2.5-vl-[0-9]*", "*/qwen2-vl-[0-9]*")
    marks = (
        FamilyMarks(("<|im_start|>", "<|vision_start|>"), ("<|im_start|>", "<|vision_start|>")),
    )
    default_id = "Qwen/Qwen3-VL-2B-Instruct"
    sampling = {"temperature": 0.7, "top_p": 0.8, "top_k": 20}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    reasoning_format = "think"
    license = "apache-2.0"
