"""Devstral, Mistral AI's models for agents that write code."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_24B = KnownShape(40, 5120, 32, 8, 32768, 131_072, head_dim=128)


class DevstralConfig(LLMConfig):
    name = "devstral"
    title = "Devstral"
    architectures = (
        "MistralForCausalLM",
        "Mistral3ForConditionalGeneration",
        "Ministral3ForCausalLM",
    )
    by_id_only = True
    models = {
        "mistralai/Devstral-Small-2507": ModelCard(23.6e9, 131_072),
        "mistralai/Devstral-Small-2505": ModelCard(23.6e9, 131_072),
        "mistralai/Devstral-Small-2-24B-Instruct-2512": ModelCard(24.0e9, 393_216),
        "mistralai/Devstral-2-123B-Instruct-2512": ModelCard(
            125e9, 262_144, license="modified-mit"
        ),
    }
    shapes = {
        "mistralai/Devstral-Small-2507": _24B,
        "mistralai/Devstral-Small-2505": _24B,
    }
    topics = {"code": ("*",)}
    patterns = ("*/devstral-*",)
    default_id = "mistralai/Devstral-Small-2507"
    sampling = {"temperature": 0.15}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "mistral_v11"
    license = "apache-2.0"
