"""Heron models."""

from openllm.models.base import LLMConfig


class HeronConfig(LLMConfig):
    name = "heron"
    title = "Heron"
    aliases = ("egret",)
    architectures = ("HeronForCausalLM",)
    model_ids = ("acme/heron-1b",)
    default_id = "acme/heron-1b"
    sampling = {"temperature": 0.25}
    backends = ("pt", "vllm")
    license = "mit"
