"""Jamba, by AI21 Labs: Mamba with some layers of attention, and experts in the large ones."""

from openllm.models.base import LLMConfig, ModelCard


class JambaConfig(LLMConfig):
    name = "jamba"
    title = "Jamba"
    architectures = ("JambaForCausalLM",)
    models = {
        "ai21labs/AI21-Jamba-Reasoning-3B": ModelCard(3.03e9, 262_144),
        "ai21labs/AI21-Jamba-Mini-1.7": ModelCard(
            51.6e9, 262_144, active=12e9, license="jamba-open-model-license"
        ),
        "ai21labs/AI21-Jamba-Large-1.7": ModelCard(
            398e9, 262_144, active=94e9, license="jamba-open-model-license"
        ),
    }
    patterns = ("ai21labs/*jamba*",)
    default_id = "ai21labs/AI21-Jamba-Reasoning-3B"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj", "out_proj")
    reasoning_format = "think"
    license = "apache-2.0"
