"""EmbeddingGemma, by Google: Gemma 3 that looks both ways."""

from openllm.models.base import LLMConfig, ModelCard


class EmbeddingGemmaConfig(LLMConfig):
    name = "embedding_gemma"
    title = "EmbeddingGemma"
    architectures = ("Gemma3TextModel",)
    models = {
        "google/embeddinggemma-300m": ModelCard(303e6, 2048),
    }
    patterns = ("*/embeddinggemma-*",)
    default_id = "google/embeddinggemma-300m"
    task = "embed"
    license = "gemma"
