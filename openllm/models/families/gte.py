"""GTE, by Alibaba: embeddings on BERT and ModernBERT, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard


class GTEConfig(LLMConfig):
    name = "gte"
    title = "GTE"
    architectures = ("BertModel", "ModernBertModel")
    by_id_only = True
    models = {
        "thenlper/gte-small": ModelCard(33.4e6, 512),
        "thenlper/gte-base": ModelCard(109e6, 512),
        "thenlper/gte-large": ModelCard(335e6, 512),
        "Alibaba-NLP/gte-modernbert-base": ModelCard(149e6, 8192, license="apache-2.0"),
    }
    patterns = ("thenlper/gte-*", "alibaba-nlp/gte-modernbert-*")
    default_id = "thenlper/gte-small"
    task = "embed"
    license = "mit"
