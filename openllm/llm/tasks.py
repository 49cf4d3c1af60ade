"""Which kinds of model do which work, and what is said to who asks another one for it."""

from __future__ import annotations

from collections.abc import Mapping

from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedFeature, call

# What can be asked for -> the tasks (`LLMSpec.task`) of models that do it, the best first.
WORK: Mapping[str, tuple[str, ...]] = {
    "generate": ("generate",),
    "embed": ("embed", "generate"),
    "score": ("classify", "embed"),
    "classify": ("classify",),
}
# By task: what a model of it is, and how it is used.
_KINDS: Mapping[str, str] = {
    "generate": "a model that writes text",
    "embed": "an embedding model",
    "classify": "a sequence-classification model",
}
_USES: Mapping[str, str] = {
    "generate": call("LLM.generate"),
    "embed": call("LLM.embed"),
    "classify": f"{call('LLM.score')} or {call('LLM.classify')}",
}
_NEEDED: Mapping[str, str] = {
    "generate": "Text is written by a model with a language-modelling head",
    "embed": "Vectors are made by an embedding model",
    "score": "Scores are given by a sequence-classification model, such as a reranker, or by an"
    " embedding model",
    "classify": "Labels are given by a sequence-classification model",
}


def require(spec: LLMSpec, work: str) -> None:
    """Errors: UnsupportedFeature where a model of `spec` does no `work`, a key of `WORK`."""
    if spec.task not in WORK[work]:
        raise UnsupportedFeature(
            f"{spec.served_name} is {_KINDS[spec.task]}.",
            hint=f"{_NEEDED[work]}; this one is for {_USES[spec.task]}.",
            param="model",
        )
