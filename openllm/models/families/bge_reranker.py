"""BGE rerankers, by the Beijing Academy of AI: how well a passage answers a query."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_LARGE = KnownShape(24, 1024, 16, 16, 4096, 250_002, tied=True, dtype="float32")


class BGERerankerConfig(LLMConfig):
    name = "bge_reranker"
    title = "BGE Reranker"
    architectures = ("XLMRobertaForSequenceClassification",)
    models = {
        "BAAI/bge-reranker-v2-m3": ModelCard(568e6, 8192),
        "BAAI/bge-reranker-base": ModelCard(278e6, 512, license="mit"),
        "BAAI/bge-reranker-large": ModelCard(560e6, 512, license="mit"),
    }
    shapes = {
        "BAAI/bge-reranker-v2-m3": _LARGE,
        "BAAI/bge-reranker-large": _LARGE,
        "BAAI/bge-reranker-base": KnownShape(
            12, 768, 12, 12, 3072, 250_002, tied=True, dtype="float32"
        ),
    }
    patterns = ("baai/bge-reranker-v2-m3*", "baai/bge-reranker-base*", "baai/bge-reranker-large*")
    default_id = "BAAI/bge-reranker-v2-m3"
    task = "classify"
    license = "apache-2.0"
