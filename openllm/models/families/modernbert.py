"""ModernBERT trained to embed: long texts, alternating attention."""

from openllm.models.base import LLMConfig, ModelCard


class ModernBertConfig(LLMConfig):
    name = "modernbert"
    title = "ModernBERT"
    architectures = ("ModernBertModel",)
    models = {
        "nomic-ai/modernbert-embed-base": ModelCard(149e6, 8192),
        "lightonai/modernbert-embed-large": ModelCard(395e6, 8192),
        "ibm-granite/granite-embedding-english-r2": ModelCard(149e6, 8192),
    }
    patterns = ("*/modernbert-embed-*",)
    default_id = "nomic-ai/modernbert-embed-base"
    task = "embed"
    license = "apache-2.0"
