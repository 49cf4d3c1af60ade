"""Encoder models that turn texts into vectors: MiniLM, BGE, E5 and other children of BERT."""

from openllm.models.base import LLMConfig


class BertConfig(LLMConfig):
    name = "bert"
    title = "BERT"
    aliases = ("minilm", "bge", "e5")
    architectures = (
        "BertModel",
        "RobertaModel",
        "XLMRobertaModel",
        "DistilBertModel",
        "MPNetModel",
    )
    model_ids = (
        "sentence-transformers/all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L12-v2",
        "sentence-transformers/all-mpnet-base-v2",
        "BAAI/bge-small-en-v1.5",
        "BAAI/bge-base-en-v1.5",
        "BAAI/bge-large-en-v1.5",
        "BAAI/bge-m3",
        "intfloat/e5-small-v2",
        "intfloat/e5-base-v2",
        "intfloat/multilingual-e5-small",
        "intfloat/multilingual-e5-large",
    )
    patterns = ("*/*-minilm-l*", "baai/bge-*-v1.5", "intfloat/e5-*", "intfloat/multilingual-e5-*")
    default_id = "sentence-transformers/all-MiniLM-L6-v2"
    task = "embed"
    license = "apache-2.0"
