"""Ministral, Mistral AI's small models; those of the third generation read images too."""

from openllm.models.base import LLMConfig, ModelCard


class MinistralConfig(LLMConfig):
    name = "ministral"
    title = "Ministral"
    architectures = ("Mistral3ForConditionalGeneration", "MistralForCausalLM")
    by_id_only = True
    models = {
        "mistralai/Ministral-3-3B-Instruct-2512": ModelCard(3.85e9, 262_144),
        "mistralai/Ministral-3-8B-Instruct-2512": ModelCard(8.92e9, 262_144),
        "mistralai/Ministral-3-14B-Instruct-2512": ModelCard(13.9e9, 262_144),
        "mistralai/Ministral-8B-Instruct-2410": ModelCard(8.02e9, 32768, license="mrl"),
    }
    topics = {"vision": ("*/ministral-3-*",)}
    # not Ministral 3 Reasoning, which is sampled as Magistral is
    patterns = ("*/ministral-3-[38]b-[!r]*", "*/ministral-3-14b-[!r]*", "*/ministral-8b-*")
    default_id = "mistralai/Ministral-3-3B-Instruct-2512"
    sampling = {"temperature": 0.15}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "mistral_v11"
    reasoning_format = "mistral"
    license = "apache-2.0"
