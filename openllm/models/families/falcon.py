"""Falcon H1, by TII: attention and Mamba 2 side by side in each layer; and the first Falcon."""

from openllm.models.base import LLMConfig, ModelCard


class FalconConfig(LLMConfig):
    name = "falcon"
    title = "Falcon"
    aliases = ("falcon_h1",)
    architectures = ("FalconH1ForCausalLM", "FalconForCausalLM", "FalconMambaForCausalLM")
    models = {
        "tiiuae/Falcon-H1-0.5B-Instruct": ModelCard(521e6, 16384),
        "tiiuae/Falcon-H1-1.5B-Instruct": ModelCard(1.55e9, 131_072),
        "tiiuae/Falcon-H1-3B-Instruct": ModelCard(3.15e9, 131_072),
        "tiiuae/Falcon-H1-7B-Instruct": ModelCard(7.59e9, 262_144),
        "tiiuae/Falcon-H1-34B-Instruct": ModelCard(33.6e9, 262_144),
        "tiiuae/falcon-7b-instruct": ModelCard(7.22e9, 2048, license="apache-2.0"),
    }
    patterns = ("tiiuae/falcon-*",)
    default_id = "tiiuae/Falcon-H1-0.5B-Instruct"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    license = "falcon-llm-license"
