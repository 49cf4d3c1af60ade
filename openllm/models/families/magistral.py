"""Magistral and Ministral 3 Reasoning, Mistral AI's models that think."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_24B = KnownShape(40, 5120, 32, 8, 32768, 131_072, head_dim=128)


class MagistralConfig(LLMConfig):
    name = "magistral"
    title = "Magistral"
    architectures = ("MistralForCausalLM", "Mistral3ForConditionalGeneration")
    by_id_only = True
    models = {
        "mistralai/Magistral-Small-2507": ModelCard(23.6e9, 40960),
        "mistralai/Magistral-Small-2506": ModelCard(23.6e9, 40960),
        "mistralai/Magistral-Small-2509": ModelCard(24.0e9, 131_072),
        "mistralai/Ministral-3-3B-Reasoning-2512": ModelCard(3.85e9, 262_144),
        "mistralai/Ministral-3-8B-Reasoning-2512": ModelCard(8.92e9, 262_144),
        "mistralai/Ministral-3-14B-Reasoning-2512": ModelCard(13.9e9, 262_144),
    }
    shapes = {
        "mistralai/Magistral-Small-2507": _24B,
        "mistralai/Magistral-Small-2506": _24B,
        "mistralai/Magistral-Small-2509": _24B,
    }
    topics = {
        "vision": (
            "*-2509",
            "*/ministral-3-*",
        )
    }
    patterns = (
        "*/magistral-*",
        "*/ministral-3-[38]b-reasoning*",
        "*/ministral-3-14b-reasoning*",
    )
    default_id = "mistralai/Magistral-Small-2507"
    sampling = {"temperature": 0.7, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "mistral_v11"
    reasoning_format = "mistral"
    license = "apache-2.0"
