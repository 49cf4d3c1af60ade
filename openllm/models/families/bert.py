"""Encoder models that turn texts into vectors: MiniLM and other children of BERT."""

from openllm.models.base import LLMConfig, ModelCard


class BertConfig(LLMConfig):
    name = "bert"
    title = "BERT"
    aliases = ("minilm",)
    architectures = (
        "BertModel",
        "RobertaModel",
        "XLMRobertaModel",
        "DistilBertModel",
        "MPNetModel",
    )
    models = {
        "sentence-transformers/all-MiniLM-L6-v2": ModelCard(22.7e6, 512),
        "sentence-transformers/all-MiniLM-L12-v2": ModelCard(33.4e6, 512),
        "sentence-transformers/all-mpnet-base-v2": ModelCard(109e6, 512),
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": ModelCard(118e6, 512),
    }
    patterns = ("*/all-minilm-l*", "*/*-multilingual-minilm-l*")
    default_id = "sentence-transformers/all-MiniLM-L6-v2"
    task = "embed"
    license = "apache-2.0"
