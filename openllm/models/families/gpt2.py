"""GPT-2, by OpenAI: small text completion without a chat template."""

from openllm.models.base import LLMConfig, ModelCard


class GPT2Config(LLMConfig):
    name = "gpt2"
    title = "GPT-2"
    aliases = ("gpt-2", "distilgpt2")
    architectures = ("GPT2LMHeadModel",)
    models = {
        "openai-community/gpt2": ModelCard(124e6, 1024),
        "openai-community/gpt2-medium": ModelCard(355e6, 1024),
        "openai-community/gpt2-large": ModelCard(774e6, 1024),
        "openai-community/gpt2-xl": ModelCard(1.56e9, 1024),
        "distilbert/distilgpt2": ModelCard(82e6, 1024, license="apache-2.0"),
    }
    patterns = ("openai-community/gpt2*",)
    default_id = "openai-community/gpt2"
    lora_targets = ("c_attn", "c_proj", "c_fc")
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "mit"
