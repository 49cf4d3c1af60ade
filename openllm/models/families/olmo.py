"""OLMo 2 and 3, by the Allen Institute for AI: models whose training is open, too."""

from openllm.models.base import LLMConfig, ModelCard


class OLMoConfig(LLMConfig):
    name = "olmo"
    title = "OLMo"
    aliases = ("olmo3",)
    architectures = ("Olmo3ForCausalLM", "Olmo2ForCausalLM", "OlmoForCausalLM", "OlmoeForCausalLM")
    models = {
        "allenai/Olmo-3-7B-Instruct": ModelCard(7.30e9, 65536),
        "allenai/Olmo-3-7B-Think": ModelCard(7.30e9, 65536),
        "allenai/Olmo-3-32B-Think": ModelCard(32.2e9, 65536),
        "allenai/OLMo-2-0425-1B-Instruct": ModelCard(1.48e9, 4096),
        "allenai/OLMo-2-1124-7B-Instruct": ModelCard(7.30e9, 4096),
        "allenai/OLMo-2-1124-13B-Instruct": ModelCard(13.7e9, 4096),
        "allenai/OLMo-2-0325-32B-Instruct": ModelCard(32.2e9, 4096),
        "allenai/OLMoE-1B-7B-0125-Instruct": ModelCard(6.92e9, 4096, active=1.3e9),
    }
    patterns = ("allenai/olmo-3*", "allenai/olmo-2-*", "allenai/olmoe-*")
    default_id = "allenai/Olmo-3-7B-Instruct"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    reasoning_format = "think"
    license = "apache-2.0"
