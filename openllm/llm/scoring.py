"""Labels of texts and scores of pairs: what `LLM.classify` and `LLM.score` do around an engine."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from typing import Any

import attrs

from openllm.backends.base import Backend, Embeddings, Logits
from openllm.errors import ContextLengthExceeded, InvalidRequest, UnsupportedFeature
from openllm.llm.embedding import prompt_of, rendered, shortened
from openllm.llm.model import Model
from openllm.prompt.pairs import Cut, Input, Pair, encode_inputs
from openllm.types import EncodedText, Message, Usage
from openllm.weights.labels import Activation

MOST_CHARACTERS = 8 * 1024**2  # of all pairs of a request, each with its query
_AT_ONCE = 64  # inputs that are tokenized in one call
FITTING = -1  # as a length to cut to: what the model takes


@attrs.frozen
class ScoreOutput:
    """One score per pair, in the pairs' order: the higher, the better the two go together."""

    scores: list[float]
    usage: Usage


@attrs.frozen
class ClassifyOutput:
    """One row per text, in the texts' order: a number for each of `labels`, probabilities where
    the model's files do not say otherwise.
    """

    rows: list[list[float]]
    labels: tuple[str, ...]
    usage: Usage

    def best(self, row: Sequence[float]) -> str:
        """The label with the highest number in `row`."""
        return self.labels[max(range(len(row)), key=row.__getitem__)]


def as_texts(texts: str | Sequence[str], name: str) -> list[str]:
    """One text or several, as several. Errors: InvalidRequest for anything else, and for none."""
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found or not all(isinstance(text, str) for text in found):
        raise InvalidRequest(f"{name} must be a text, or a list of texts.", param=name)
    return found


def paired(queries: str | Sequence[str], documents: str | Sequence[str]) -> list[Pair]:
    """One query with each document, or each query with the document in its place. Errors:
    InvalidRequest for numbers of texts that do not go together, or for too much text.
    """
    firsts, seconds = as_texts(queries, "queries"), as_texts(documents, "documents")
    if len(firsts) == 1:
        firsts *= len(seconds)
    if len(firsts) != len(seconds):
        raise InvalidRequest(
            f"There are {len(firsts)} queries and {len(seconds)} documents.",
            hint="Send one query, or as many as documents.",
            param="documents",
        )
    size = sum(map(len, firsts)) + sum(map(len, seconds))
    if size > MOST_CHARACTERS:
        raise InvalidRequest(
            f"The pairs have {size:,} characters together, each with its query; at most"
            f" {MOST_CHARACTERS:,} are taken at once.",
            hint="Send fewer documents at a time.",
            param="documents",
        )
    return [Pair(first, second) for first, second in zip(firsts, seconds, strict=True)]


def as_inputs(texts: Input | Sequence[Input]) -> list[Input]:
    """One input or several, as several. Errors: InvalidRequest for anything else, and for none."""
    if isinstance(texts, str | Pair):
        return [texts]
    items: list[Any] = list(texts)
    found = [items] if items and all(type(item) is int for item in items) else items
    for one in found:
        ids = isinstance(one, list | tuple) and all(type(item) is int for item in one)
        if not (ids or isinstance(one, str | Pair)):
            raise InvalidRequest("An input must be a text, token ids or a Pair.", param="texts")
    if not found:
        raise InvalidRequest("There are no texts.", hint="Send at least one.", param="texts")
    return found


async def score_pairs(
    model: Model, backend: Backend, pairs: Sequence[Pair], cut: Cut, activate: bool
) -> ScoreOutput:
    """The scores of pairs by a classifier that has one label. Errors: those of `logits_of`,
    UnsupportedFeature for one that has several.
    """
    if len(model.labels.names) != 1:
        raise UnsupportedFeature(
            f"{model.spec.served_name} has {len(model.labels.names)} labels, and no one score.",
            hint="Classify with it, and score with a reranker, which has one label.",
            param="model",
        )
    found = await logits_of(model, backend, pairs, cut, "documents")
    activation = model.labels.activation if activate else "identity"
    scores = [activated(row, activation)[0] for row in found.rows]
    return ScoreOutput(scores, Usage(found.prompt_tokens, 0))


async def classify_texts(
    model: Model, backend: Backend, texts: Sequence[Input], cut: Cut, activate: bool
) -> ClassifyOutput:
    """What the model says of each label. Errors: those of `logits_of`."""
    found = await logits_of(model, backend, texts, cut, "texts")
    activation = model.labels.activation if activate else "identity"
    rows = [activated(row, activation) for row in found.rows]
    return ClassifyOutput(rows, model.labels.names, Usage(found.prompt_tokens, 0))


async def logits_of(
    model: Model, backend: Backend, inputs: Sequence[Input], cut: Cut, name: str
) -> Logits:
    """The engine's logits. Errors: InvalidRequest for an input without a token,
    ContextLengthExceeded for one that is too long, those of `Backend.classify`.
    """
    longest = backend.info.max_model_len
    if cut.whole is not None:
        whole = longest if cut.whole == FITTING else min(cut.whole, longest)
        cut = attrs.evolve(cut, whole=whole)
    left = threading.Event()
    try:
        encoded = await asyncio.to_thread(_until_left, model, inputs, cut, longest, left)
    finally:
        left.set()
    for at, one in enumerate(encoded):
        _check_length(one, at, longest, name)
    return await backend.classify(encoded)


def _until_left(
    model: Model, inputs: Sequence[Input], cut: Cut, longest: int, left: threading.Event
) -> list[EncodedText]:
    """As `_encoded`, a few of them after another, until somebody has `left`."""
    found: list[EncodedText] = []
    for at in range(0, len(inputs), _AT_ONCE):
        if left.is_set():
            break
        found += _encoded(model, inputs[at : at + _AT_ONCE], cut, longest)
    return found


def _encoded(model: Model, inputs: Sequence[Input], cut: Cut, longest: int) -> list[EncodedText]:
    """The token ids of each input, with the model's default prompt before the first text; rendered
    by the chat template where the model's files say so.
    """
    modules = model.modules
    prompt = prompt_of(modules, None)
    if not modules.form.messages:
        written = [_prompted(one, prompt) for one in inputs]
        return encode_inputs(model.tokenizer, written, cut)
    room = longest if cut.whole is None else cut.whole
    return [EncodedText(_rendered(model, one, prompt, room)) for one in inputs]


def _prompted(one: Input, prompt: str) -> Input:
    if isinstance(one, Pair):
        return Pair(prompt + one.first, one.second)
    return prompt + one if isinstance(one, str) else one


def _rendered(model: Model, one: Input, prompt: str, room: int) -> list[int]:
    """The turns that sentence-transformers makes of a text, or of a query and a document, as the
    chat template writes them. Errors: ContextLengthExceeded, as of `shortened`.
    """
    if not isinstance(one, str | Pair):
        return list(one)
    turns = [Message("system", prompt)] if prompt else []
    if isinstance(one, Pair):
        turns += [Message("query", one.first), Message("document", one.second)]
    else:
        turns.append(Message("user", one))
    return shortened(model.renderer, rendered(model.modules.form, turns), room, "end")


def _check_length(one: EncodedText, at: int, longest: int, name: str) -> None:
    size = len(one.token_ids)
    if not size:
        raise InvalidRequest(
            f"Input {at} is empty.", hint="Every input needs at least one token.", param=name
        )
    if size > longest:
        raise ContextLengthExceeded(
            f"Input {at} has {size} tokens; this model takes {longest}.",
            hint="Shorten it, or have it cut.",
            param=name,
        )


def activated(row: Sequence[float], activation: Activation) -> list[float]:
    """The numbers that a model's users expect in place of one row of logits."""
    if activation == "sigmoid":
        return [_sigmoid(value) for value in row]
    if activation == "softmax":
        highest = max(row)
        powers = [math.exp(value - highest) for value in row]
        return [power / sum(powers) for power in powers]
    if activation == "tanh":
        return [math.tanh(value) for value in row]
    if activation == "relu":
        return [max(value, 0.0) for value in row]
    return list(row)


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    power = math.exp(value)  # no overflow, however small the value is
    return power / (1 + power)


def cosines(queries: Embeddings, documents: Embeddings) -> list[float]:
    """The cosine of each query's vector and that of the document in its place; of one query and
    every document where there is one.
    """
    firsts = (
        queries.vectors * len(documents.vectors) if len(queries.vectors) == 1 else (queries.vectors)
    )
    return [_cosine(*both) for both in zip(firsts, documents.vectors, strict=True)]


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    lengths = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else 0.0
