"""BGE rerankers, by the Beijing Academy of AI: how well a passage answers a query."""

from openllm.models.base import LLMConfig, ModelCard


class BGERerankerConfig(LLMConfig):
    name = "bge_reranker"
    title = "BGE Reranker"
    architectures = ("XLMRobertaForSequenceClassification",)
    models = {
        "BAAI/bge-reranker-v2-m3": ModelCard(568e6, 8192),
        "BAAI/bge-reranker-base": ModelCard(278e6, 512, license="mit"),
        "BAAI/bge-reranker-large": ModelCard(560e6, 512, license="mit"),
    }
    patterns = ("baai/bge-reranker-v2-m3*", "baai/bge-reranker-base*", "baai/bge-reranker-large*")
    default_id = "BAAI/bge-reranker-v2-m3"
    task = "classify"
    license = "apache-2.0"
