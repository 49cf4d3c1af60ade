"""StarCoder 2, by BigCode: code, completed and filled in."""

from openllm.models.base import LLMConfig, ModelCard


class StarCoderConfig(LLMConfig):
    name = "starcoder"
    title = "StarCoder"
    aliases = ("starcoder2",)
    architectures = ("Starcoder2ForCausalLM",)
    models = {
        "bigcode/starcoder2-3b": ModelCard(3.03e9, 16384),
        "bigcode/starcoder2-7b": ModelCard(7.17e9, 16384),
        "bigcode/starcoder2-15b": ModelCard(16.0e9, 16384),
        "bigcode/starcoder2-15b-instruct-v0.1": ModelCard(16.0e9, 16384),
    }
    topics = {"code": ("*",)}
    patterns = ("*/starcoder2-*",)
    default_id = "bigcode/starcoder2-3b"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj")
    license = "bigcode-openrail-m"
