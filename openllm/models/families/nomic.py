"""Nomic Embed: embeddings of long texts, on a BERT with rotation."""

from openllm.models.base import LLMConfig, ModelCard


class NomicConfig(LLMConfig):
    name = "nomic"
    title = "Nomic Embed"
    architectures = ("NomicBertModel",)
    models = {
        "nomic-ai/nomic-embed-text-v1.5": ModelCard(137e6, 8192),
        "nomic-ai/nomic-embed-text-v1": ModelCard(137e6, 8192),
    }
    patterns = ("nomic-ai/nomic-embed-text-v1*",)
    default_id = "nomic-ai/nomic-embed-text-v1.5"
    task = "embed"
    license = "apache-2.0"
