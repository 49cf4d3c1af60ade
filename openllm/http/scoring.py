"""The pairs of one exchange scored, or its texts classified, and counted."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openllm.http.catalog import Target
from openllm.http.embedding import count_tokens
from openllm.http.exchange import Exchange
from openllm.llm.scoring import ClassifyOutput, ScoreOutput
from openllm.prompt.pairs import Cut, Input


@attrs.frozen
class RankedDocument:
    """One document of those that were ranked."""

    index: int  # among the documents as they came
    score: float


async def score(
    exchange: Exchange,
    target: Target,
    queries: Sequence[str],
    documents: Sequence[str],
    *,
    cut: Cut | None = None,
    activate: bool = True,
) -> ScoreOutput:
    """The scores of one query and each document, or of as many queries, by `target`, which
    `Catalog.running(name, "score")` has found; their tokens are counted as the caller's. Errors:
    those of `LLM.score`, ClientGone.
    """
    exchange.model = target.llm.name
    async with exchange.client_present():
        output = await target.llm.score(queries, documents, cut=cut, activate=activate)
    count_tokens(exchange, output.usage)
    return output


def ranked(output: ScoreOutput, top: int | None = None) -> list[RankedDocument]:
    """The documents by their scores, the best first, equals as they came; `top` of them at most."""
    found = [RankedDocument(at, value) for at, value in enumerate(output.scores)]
    return sorted(found, key=lambda one: -one.score)[:top]


async def classify(
    exchange: Exchange,
    target: Target,
    texts: Sequence[Input],
    *,
    cut: Cut | None = None,
    activate: bool = True,
) -> ClassifyOutput:
    """The labels of `texts` by `target`, which `Catalog.running(name, "classify")` has found; their
    tokens are counted as the caller's. Errors: those of `LLM.classify`, ClientGone.
    """
    exchange.model = target.llm.name
    async with exchange.client_present():
        output = await target.llm.classify(texts, cut=cut, activate=activate)
    count_tokens(exchange, output.usage)
    return output
