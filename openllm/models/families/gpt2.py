"""GPT-2, by OpenAI: small text completion without a chat template."""

from openllm.models.base import LLMConfig


class GPT2Config(LLMConfig):
    name = "gpt2"
    title = "GPT-2"
    aliases = ("gpt-2", "distilgpt2")
    architectures = ("GPT2LMHeadModel",)
    model_ids = (
        "openai-community/gpt2",
        "openai-community/gpt2-medium",
        "openai-community/gpt2-large",
        "openai-community/gpt2-xl",
        "distilbert/distilgpt2",
    )
    patterns = ("openai-community/gpt2*",)
    default_id = "openai-community/gpt2"
    lora_targets = ("c_attn", "c_proj", "c_fc")
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "mit"
