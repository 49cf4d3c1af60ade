"""The texts of one exchange embedded, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.llm.embedding import MANY_NUMBERS, EmbeddingOutput, Side
from openllm.types import Prompt, Usage

T = TypeVar("T")


async def embed(
    exchange: Exchange,
    target: Target,
    texts: Sequence[Prompt],
    *,
    normalize: bool,
    dimensions: int | None,
    truncate: Side | None,
    prompt_name: str | Sequence[str] | None = None,
) -> EmbeddingOutput:
    """The vectors of `texts` by `target`, while the client is there; their tokens are counted as
    its key's. Errors: those of `LLM.embed`, ClientGone.
    """
    exchange.model = target.llm.name
    async with exchange.client_present():
        output = await target.llm.embed(
            texts,
            normalize=normalize,
            dimensions=dimensions,
            truncate=truncate,
            prompt_name=prompt_name,
        )
    count_tokens(exchange, output.usage)
    return output


def count_tokens(exchange: Exchange, usage: Usage) -> None:
    """Count the tokens of work that writes none, and take them off the caller's key."""
    tokens, caller = usage.prompt_tokens, exchange.caller
    exchange.metrics.used(exchange.model, caller, tokens)
    if caller.account is not None:
        caller.account.spend(tokens)


async def written(vectors: Sequence[list[float]], write: Callable[[list[float]], T]) -> list[T]:
    """What `write` makes of each vector: off the event loop where they have many numbers."""
    if sum(map(len, vectors)) < MANY_NUMBERS:
        return [write(vector) for vector in vectors]
    return await asyncio.to_thread(lambda: [write(vector) for vector in vectors])


def as_json(vector: list[float]) -> msgspec.Raw:
    """A vector as JSON that is put into a larger value as it is."""
    return msgspec.Raw(msgspec.json.encode(vector))
