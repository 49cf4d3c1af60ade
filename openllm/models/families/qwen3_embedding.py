"""Qwen 3 trained to embed: the chat models' architecture, another task, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard


class Qwen3EmbeddingConfig(LLMConfig):
    name = "qwen3_embedding"
    title = "Qwen3 Embedding"
    architectures = ("Qwen3ForCausalLM",)
    by_id_only = True
    models = {
        "Qwen/Qwen3-Embedding-0.6B": ModelCard(596e6, 32768),
        "Qwen/Qwen3-Embedding-4B": ModelCard(4.02e9, 40960),
        "Qwen/Qwen3-Embedding-8B": ModelCard(7.57e9, 40960),
    }
    patterns = ("*/qwen3-embedding-*",)
    default_id = "Qwen/Qwen3-Embedding-0.6B"
    task = "embed"
    license = "apache-2.0"
