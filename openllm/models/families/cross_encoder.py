"""Sentence Transformers' cross-encoders: MiniLM that scores a query and a passage together."""

from openllm.models.base import LLMConfig, ModelCard


class CrossEncoderConfig(LLMConfig):
    name = "cross_encoder"
    title = "Cross-encoders"
    architectures = ("BertForSequenceClassification",)
    models = {
        "cross-encoder/ms-marco-MiniLM-L6-v2": ModelCard(22.7e6, 512),
        "cross-encoder/ms-marco-MiniLM-L12-v2": ModelCard(33.4e6, 512),
    }
    patterns = ("cross-encoder/ms-marco-minilm-*",)
    default_id = "cross-encoder/ms-marco-MiniLM-L6-v2"
    task = "classify"
    license = "apache-2.0"
