"""Qwen 3 trained to embed: the chat models' architecture, another task, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape


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
    shapes = {
        "Qwen/Qwen3-Embedding-0.6B": KnownShape(
            28, 1024, 16, 8, 3072, 151_936, head_dim=128, tied=True
        ),
        "Qwen/Qwen3-Embedding-4B": KnownShape(
            36, 2560, 32, 8, 9728, 151_936, head_dim=128, tied=True
        ),
        "Qwen/Qwen3-Embedding-8B": KnownShape(36, 4096, 32, 8, 12288, 151_665, tied=True),
    }
    patterns = ("*/qwen3-embedding-*",)
    default_id = "Qwen/Qwen3-Embedding-0.6B"
    task = "embed"
    license = "apache-2.0"
