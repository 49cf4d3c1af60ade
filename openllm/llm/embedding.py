"""Texts to vectors: what `LLM.embed` does around an engine's `embed`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import attrs

from openllm.backends.base import Backend, Embeddings
from openllm.errors import ContextLengthExceeded, InvalidRequest
from openllm.prompt.renderer import ChatRenderer
from openllm.types import Prompt, Usage


@attrs.frozen
class EmbeddingOutput:
    """One vector per input, in the inputs' order."""

    vectors: list[list[float]]
    usage: Usage


async def embed(
    renderer: ChatRenderer, backend: Backend, inputs: Sequence[Prompt], pooling: str | None
) -> Embeddings:
    """The engine's vectors of texts or token ids. Errors: InvalidRequest for an empty one,
    ContextLengthExceeded for a long one, those of `Backend.embed`.
    """
    limit = backend.info.max_model_len
    prompts = await asyncio.to_thread(_token_prompts, renderer, inputs, limit)
    return await backend.embed(prompts, pooling)


def _token_prompts(
    renderer: ChatRenderer, inputs: Sequence[Prompt], max_model_len: int
) -> list[list[int]]:
    prompts = [renderer.encode(item) for item in inputs]
    for at, prompt in enumerate(prompts):
        if not prompt:
            raise InvalidRequest(
                f"Input {at} is empty.", hint="Every input needs at least one token.", param="texts"
            )
        if len(prompt) > max_model_len:
            raise ContextLengthExceeded(
                f"Input {at} has {len(prompt)} tokens; this model takes {max_model_len}.",
                hint="Shorten it or split it.",
                param="texts",
            )
    return prompts


def finish(found: Embeddings, normalize: bool, dimensions: int | None) -> EmbeddingOutput:
    """Cut each vector to its first `dimensions` numbers, then scale it to length 1. Errors:
    InvalidRequest.
    """
    if not isinstance(normalize, bool):
        raise InvalidRequest(
            f"normalize must be true or false, got {normalize!r}.", param="normalize"
        )
    vectors = found.vectors
    if dimensions is not None:
        if type(dimensions) is not int:
            raise InvalidRequest(
                f"dimensions must be a whole number, got {dimensions!r}.", param="dimensions"
            )
        if vectors and not 1 <= dimensions <= len(vectors[0]):
            raise InvalidRequest(
                f"dimensions must be between 1 and {len(vectors[0])}, got {dimensions}.",
                param="dimensions",
            )
        vectors = [vector[:dimensions] for vector in vectors]
    if normalize:
        vectors = [_unit(vector) for vector in vectors]
    return EmbeddingOutput(vectors, Usage(found.prompt_tokens, 0))


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
