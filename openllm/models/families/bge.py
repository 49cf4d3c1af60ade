"""BGE, by the Beijing Academy of AI: embeddings on BERT; the large Chinese one and BGE-M3 are in
pickles only.
"""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class BGEConfig(LLMConfig):
    name = "bge"
    title = "BGE"
    architectures = ("BertModel",)
    by_id_only = True
    models = {
        "BAAI/bge-small-en-v1.5": ModelCard(33.4e6, 512),
        "BAAI/bge-base-en-v1.5": ModelCard(109e6, 512),
        "BAAI/bge-large-en-v1.5": ModelCard(335e6, 512),
        "BAAI/bge-small-zh-v1.5": ModelCard(24.0e6, 512),
    }
    shapes = {
        "BAAI/bge-small-en-v1.5": KnownShape(
            12, 384, 12, 12, 1536, 30522, tied=True, dtype="float32"
        ),
        "BAAI/bge-base-en-v1.5": KnownShape(
            12, 768, 12, 12, 3072, 30522, tied=True, dtype="float32"
        ),
        "BAAI/bge-large-en-v1.5": KnownShape(
            24, 1024, 16, 16, 4096, 30522, tied=True, dtype="float32"
        ),
    }
    patterns = ("baai/bge-*-v1.5",)
    default_id = "BAAI/bge-small-en-v1.5"
    task = "embed"
    license = "mit"
