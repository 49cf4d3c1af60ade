"""GTE's reranker, by Alibaba, on ModernBERT."""

from openllm.models.base import LLMConfig, ModelCard


class GTERerankerConfig(LLMConfig):
    name = "gte_reranker"
    title = "GTE Reranker"
    architectures = ("ModernBertForSequenceClassification",)
    models = {
        "Alibaba-NLP/gte-reranker-modernbert-base": ModelCard(150e6, 8192),
    }
    patterns = ("*/gte-reranker-modernbert-*",)
    default_id = "Alibaba-NLP/gte-reranker-modernbert-base"
    task = "classify"
    license = "apache-2.0"
