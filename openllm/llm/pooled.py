"""What an LLM does beside writing: one vector, one score or one row of labels per input."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from openllm.llm.embedding import (
    DOCUMENT,
    QUERY,
    EmbeddingOutput,
    EmbedOptions,
    Side,
    embed,
    finish,
    prompt_of,
)
from openllm.llm.host import Host
from openllm.llm.loops import run_on
from openllm.llm.model import Model
from openllm.llm.scoring import (
    ClassifyOutput,
    ScoreOutput,
    as_inputs,
    as_texts,
    classify_texts,
    cosines,
    paired,
    score_pairs,
)
from openllm.llm.tasks import require
from openllm.prompt.pairs import Cut, Input
from openllm.types import Prompt, Usage

T = TypeVar("T")


class PooledCalls(abc.ABC):
    """The part of `openllm.LLM` for models that pool: embedding models, classifiers, rerankers."""

    _model: Model
    _host: Host

    @abc.abstractmethod
    async def start(self) -> None:
        """Bring the engine up."""

    async def _on_engine(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await run_on(self._host.loop, work)

    async def embed(
        self,
        texts: Prompt | Sequence[Prompt],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        dimensions: int | None = None,
        truncate: Side | None = None,
        prompt_name: str | Sequence[str] | None = None,
    ) -> EmbeddingOutput:
        """One vector per text, cut to `dimensions` and scaled to length 1 unless told otherwise.

        `pooling` is "mean", "last" or "cls" (PyTorch has more: docs/models.md); None: what the
        model's files say. `truncate`: which side a long text loses. `prompt_name`: which of the
        prompts in the model's files stands before each text; of several names the first that it
        has; None, or none of several: its default one, if any. Errors: UnsupportedFeature,
        InvalidRequest, ContextLengthExceeded.
        """
        require(self._model.spec, "embed")
        await self.start()
        prompt = prompt_of(self._model.modules, prompt_name)
        options = EmbedOptions(pooling, truncate, prompt)
        work = partial(embed, self._model, self._host.backend, texts, options)
        return await finish(await self._on_engine(work), normalize, dimensions)

    async def score(
        self,
        queries: str | Sequence[str],
        documents: str | Sequence[str],
        *,
        cut: Cut | None = None,
        activate: bool = True,
    ) -> ScoreOutput:
        """How well each document goes with the query, or with the query in its place.

        By a classifier with one label (a reranker), which looks at both together, as
        sentence-transformers' CrossEncoder gives it; `activate=False`: its logits. By an embedding
        model, the cosine of the two vectors. `cut` says how long a pair may be, in tokens
        (`Cut(whole=-1)`: as the model takes it). Errors: UnsupportedFeature for other models,
        InvalidRequest, ContextLengthExceeded.
        """
        spec = self._model.spec
        require(spec, "score")
        pairs = paired(queries, documents)
        await self.start()
        if spec.task == "classify":
            work = partial(
                score_pairs, self._model, self._host.backend, pairs, cut or Cut(), activate
            )
            return await self._on_engine(work)
        return await self._cosines(
            as_texts(queries, "queries"), as_texts(documents, "documents"), cut or Cut()
        )

    async def _cosines(
        self, queries: Sequence[str], documents: Sequence[str], cut: Cut
    ) -> ScoreOutput:
        side: Side | None = None if cut.whole is None else cut.side
        work = partial(embed, self._model, self._host.backend)
        prompts = [prompt_of(self._model.modules, names) for names in (QUERY, DOCUMENT)]
        both = [EmbedOptions(None, side, prompt) for prompt in prompts]
        first, second = await asyncio.gather(
            *(
                self._on_engine(partial(work, texts, options))
                for texts, options in zip((queries, documents), both, strict=True)
            )
        )
        used = Usage(first.prompt_tokens + second.prompt_tokens, 0)
        return ScoreOutput(cosines(first, second), used)

    async def classify(
        self, texts: Input | Sequence[Input], *, cut: Cut | None = None, activate: bool = True
    ) -> ClassifyOutput:
        """What a classifier says of each of its labels, for each text, `Pair` of texts or list of
        token ids: probabilities, unless the model's files say otherwise; `activate=False`: its
        logits. `cut` says how long a text may
        be, in tokens (`Cut(whole=-1)`: as the model takes it). Errors: UnsupportedFeature for other
        models, InvalidRequest, ContextLengthExceeded.
        """
        require(self._model.spec, "classify")
        found = as_inputs(texts)
        await self.start()
        work = partial(
            classify_texts, self._model, self._host.backend, found, cut or Cut(), activate
        )
        return await self._on_engine(work)
