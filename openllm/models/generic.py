"""Any other causal language model that the engines can load: no assumptions beyond that."""

from openllm.config import LLMConfig


class GenericConfig(LLMConfig):
    name = "generic"
    title = "Other"
