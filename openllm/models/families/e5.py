"""E5, by Microsoft: embeddings that want to know a query from a passage, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard


class E5Config(LLMConfig):
    name = "e5"
    title = "E5"
    architectures = ("BertModel", "XLMRobertaModel", "MistralModel")
    by_id_only = True
    models = {
        "intfloat/e5-small-v2": ModelCard(33.4e6, 512),
        "intfloat/e5-base-v2": ModelCard(109e6, 512),
        "intfloat/e5-large-v2": ModelCard(335e6, 512),
        "intfloat/multilingual-e5-small": ModelCard(118e6, 512),
        "intfloat/multilingual-e5-base": ModelCard(278e6, 512),
        "intfloat/multilingual-e5-large": ModelCard(560e6, 512),
        "intfloat/multilingual-e5-large-instruct": ModelCard(560e6, 512),
        "intfloat/e5-mistral-7b-instruct": ModelCard(7.11e9, 32768),
    }
    patterns = ("intfloat/e5-*", "intfloat/multilingual-e5-*")
    default_id = "intfloat/e5-small-v2"
    task = "embed"
    license = "mit"
