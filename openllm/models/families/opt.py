"""OPT, by Meta: its own repositories hold pickled weights only, so that none is named."""

from openllm.models.base import LLMConfig


class OPTConfig(LLMConfig):
    name = "opt"
    title = "OPT"
    architectures = ("OPTForCausalLM",)
    patterns = ("facebook/opt-[0-9]*",)
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
    license = "opt-175b"
