"""Any other causal language model that the engines can load: no assumptions beyond that."""

from openllm.models.base import LLMConfig


class GenericConfig(LLMConfig):
    name = "generic"
    title = "Other"
