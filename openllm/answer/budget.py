"""A thought that has used up its budget is closed: the engine's run of that choice ends, and
another run goes on behind the closing mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import attrs
import msgspec

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.generation import Submit
from openllm.errors import EngineError, OpenLLMError
from openllm.types import Running, Sink, Structure, TokenDelta, TokenLogprob, TokenRequest

_SEEDS = 2**63  # below so many; a second run must not draw what the first one drew


@attrs.frozen
class ThinkingBudget:
    """How many tokens a choice may think, and what follows the last of them.

    `closing` are the token ids that end a thought. `watch()` makes a reader of one choice's
    thoughts. `structure` is what an answer behind a closed thought is kept to.
    """

    tokens: int
    closing: Sequence[int]
    watch: Callable[[], ChoiceAssembler]
    structure: Structure | None
    engine: Submit

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        """As `Backend.submit`; what the sink gets of a choice reads as one run of the engine."""
        return await BoundedThoughts(self, request, sink).begin()


@attrs.define
class _Watched:
    """A choice that may think still."""

    reader: ChoiceAssembler
    token_ids: list[int] = attrs.field(factory=list)

    def read(self, delta: TokenDelta) -> bool:
        """Read on; whether the thought can still become too long."""
        self.token_ids += delta.token_ids
        return not self.reader.feed(delta).text.strip() and delta.finish_reason is None

    def spent(self, budget: int) -> bool:
        thinking = self.reader.reasoning is not None and self.reader.reasoning.thinking
        return thinking and self.reader.reasoning_tokens >= budget


class BoundedThoughts:
    """One request: the run of all its choices, and a second run for each thought that was closed.

    It is the sink of the first run, and what the reader holds as the request that runs.
    """

    def __init__(
        self, budget: ThinkingBudget, request: TokenRequest, sink: Sink[TokenDelta]
    ) -> None:
        self._budget = budget
        self._request = request
        self._sink = sink
        choices = range(request.params.n)
        self._watched = {index: _Watched(budget.watch()) for index in choices}
        self._first = set(choices)  # those that the first run has to write
        self._run: Running | None = None
        self._second: dict[int, _SecondRun] = {}
        self._over = False

    async def begin(self) -> Running:
        """Errors: those of `Backend.submit`."""
        self._run = await self._budget.engine(self._request, self)
        for index in set(range(self._request.params.n)) - self._first:
            self._leave(index)
        return self

    # The first run's sink.

    def put(self, delta: TokenDelta) -> None:
        index = delta.index
        if index not in self._first:
            return
        watched = self._watched.get(index)
        if watched is None:
            self._pass(delta)
            return
        for piece in _pieces(delta):
            if not watched.read(piece):
                self._watched.pop(index, None)
            self._pass(piece)
            if index in self._watched and watched.spent(self._budget.tokens):
                del self._watched[index]
                self._close(index, watched.token_ids)
            if index not in self._first:
                return

    def _pass(self, delta: TokenDelta) -> None:
        if delta.finish_reason is not None:
            self._first.discard(delta.index)
        self._sink.put(delta)

    def fail(self, error: OpenLLMError) -> None:
        if not self._over:
            self.cancel()
            self._sink.fail(error)

    # The request as it runs.

    def cancel(self) -> None:
        self._over = True
        self._first.clear()
        if self._run is not None:
            self._run.cancel()
        for run in self._second.values():
            run.cancel()

    def stop(self, index: int) -> None:
        self._watched.pop(index, None)
        if index in self._second:
            self._second[index].cancel()
        elif index in self._first:
            self._leave(index)

    def _leave(self, index: int) -> None:
        """The first run is not to write this choice any more."""
        self._first.discard(index)
        if self._run is not None:
            self._run.stop(index) if self._first else self._run.cancel()

    # The second run.

    def _close(self, index: int, thought: list[int]) -> None:
        closing = list(self._budget.closing)
        if len(thought) + len(closing) >= (self._request.params.max_tokens or 0):
            return  # there is no room for an answer: the thought ends where the room does
        certain = None
        if self._request.params.logprobs is not None:
            certain = [TokenLogprob(token, 0.0, 1) for token in closing]
        self._leave(index)
        self._second[index] = run = _SecondRun(index, self._sink, self.fail)
        self._sink.put(TokenDelta(closing, index, logprobs=certain))
        if not self._over and not run.over:
            run.begin(self._budget.engine, self._rest(index, [*thought, *closing]))

    def _rest(self, index: int, written: list[int]) -> TokenRequest:
        """The request of what follows `written`."""
        request, params = self._request, self._request.params
        rest = attrs.evolve(
            params,
            n=1,
            max_tokens=(params.max_tokens or 0) - len(written),
            min_tokens=max(params.min_tokens - len(written), 0),
            seed=None if params.seed is None else (params.seed + index + len(written)) % _SEEDS,
            prompt_logprobs=None,
            structure=self._budget.structure,
        )
        return attrs.evolve(
            request,
            request_id=f"{request.request_id}-{index}",
            prompt_token_ids=request.prompt_token_ids + written,
            params=rest,
        )


class _SecondRun:
    """The run that writes one choice's answer, under that choice's index."""

    def __init__(
        self, index: int, sink: Sink[TokenDelta], failed: Callable[[OpenLLMError], None]
    ) -> None:
        self._index = index
        self._sink = sink
        self._failed = failed
        self._task: asyncio.Task[Running] | None = None
        self._run: Running | None = None
        self.over = False

    def begin(self, engine: Submit, request: TokenRequest) -> None:
        async def submit() -> Running:
            return await engine(request, self)

        self._task = asyncio.get_running_loop().create_task(submit())
        self._task.add_done_callback(self._begun)

    def _begun(self, task: asyncio.Task[Running]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._run = task.result()
            if self.over:
                self._run.cancel()
        elif isinstance(error, OpenLLMError):
            self.fail(error)
        else:
            self.fail(EngineError(f"The engine failed: {type(error).__name__}."))

    def put(self, delta: TokenDelta) -> None:
        if not self.over:
            self._sink.put(msgspec.structs.replace(delta, index=self._index, cached_tokens=0))

    def fail(self, error: OpenLLMError) -> None:
        if not self.over:
            self._failed(error)

    def cancel(self) -> None:
        self.over = True
        if self._run is not None:
            self._run.cancel()
        elif self._task is not None:
            self._task.cancel()


def _pieces(delta: TokenDelta) -> Iterator[TokenDelta]:
    """The same, token by token."""
    size = len(delta.token_ids)
    if size < 2:
        yield delta
        return
    for at, token in enumerate(delta.token_ids):
        last = at == size - 1
        yield TokenDelta(
            [token],
            delta.index,
            delta.finish_reason if last else None,
            delta.stop_reason if last else None,
            None if delta.logprobs is None else delta.logprobs[at : at + 1],
            None if at else delta.prompt_logprobs,
            0 if at else delta.cached_tokens,
            delta.error if last else None,
        )
