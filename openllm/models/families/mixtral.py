"""Mixtral, Mistral AI's mixtures of experts."""

from openllm.models.base import LLMConfig, ModelCard


class MixtralConfig(LLMConfig):
    name = "mixtral"
    title = "Mixtral"
    architectures = ("MixtralForCausalLM",)
    models = {
        "mistralai/Mixtral-8x7B-Instruct-v0.1": ModelCard(46.7e9, 32768, active=12.9e9),
        "mistralai/Mixtral-8x7B-v0.1": ModelCard(46.7e9, 32768, active=12.9e9),
        "mistralai/Mixtral-8x22B-Instruct-v0.1": ModelCard(141e9, 65536, active=39e9),
    }
    patterns = ("*/mixtral-8x*",)
    default_id = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "mistral"
    license = "apache-2.0"
