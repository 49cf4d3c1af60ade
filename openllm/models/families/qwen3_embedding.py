"""Qwen 3 trained to embed: the chat models' architecture, another task, told apart by id."""

from openllm.models.base import LLMConfig


class Qwen3EmbeddingConfig(LLMConfig):
    name = "qwen3_embedding"
    title = "Qwen3 Embedding"
    architectures = ("Qwen3ForCausalLM",)
    by_id_only = True
    model_ids = (
        "Qwen/Qwen3-Embedding-0.6B",
        "Qwen/Qwen3-Embedding-4B",
        "Qwen/Qwen3-Embedding-8B",
    )
    patterns = ("*/qwen3-embedding-*",)
    default_id = "Qwen/Qwen3-Embedding-0.6B"
    task = "embed"
    license = "apache-2.0"
