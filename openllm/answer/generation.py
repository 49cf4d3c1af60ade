"""One admitted request on its way through an engine: deltas of text, the usage so far, and the way
to cancel it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import attrs

from openllm.answer.text import ChoiceAssembler
from openllm.errors import EngineDead, EngineError
from openllm.types import (
    CompletionOutput,
    EngineRequest,
    GenerationOutput,
    TextDelta,
    TokenDelta,
    TokenLogprob,
    Usage,
)

if TYPE_CHECKING:
    from openllm.backends.base import Backend


class DeltaWriter(Protocol):
    """Takes text deltas without a task being woken for them."""

    @property
    def open(self) -> bool:
        """Whether `write` may be called now."""

    def write(self, delta: TextDelta) -> object:
        """Take a delta, without waiting."""


class Generation:
    """An async iterator of `TextDelta`s; every choice ends with exactly one that has a
    finish_reason.

    Close it (`async with`, or `aclose()`) to cancel: the engine frees what the request holds.
    Errors while iterating: Overloaded (the queue is full), EngineDead, InvalidRequest (a structure
    that does not compile).
    """

    def __init__(
        self,
        backend: Backend,
        request: EngineRequest,
        choices: Sequence[ChoiceAssembler],
        hold: AbstractAsyncContextManager[object],
    ) -> None:
        self.request = request
        self._backend = backend
        self._choices = choices
        self._cached_tokens = 0
        self._writer: DeltaWriter | None = None
        self._deltas = self._run(hold)

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def prompt_token_ids(self) -> list[int]:
        return self.request.prompt_token_ids

    @property
    def usage(self) -> Usage:
        """Tokens so far; final once the iterator has ended."""
        done = sum(choice.tokens for choice in self._choices)
        return Usage(len(self.request.prompt_token_ids), done, self._cached_tokens)

    def __aiter__(self) -> AsyncIterator[TextDelta]:
        return self._deltas

    async def __anext__(self) -> TextDelta:
        return await anext(self._deltas)

    @property
    def plain(self) -> bool:
        """Whether only the engine can end it: one choice, no stop strings."""
        return len(self._choices) == 1 and not self.request.params.stop

    def divert(self, writer: DeltaWriter) -> None:
        """From now on `writer` may get the deltas in the middle of a `plain` answer instead of who
        iterates.

        It gets them in the call of the engine that brings them, while the iterating task waits for
        the next and `writer.open`. The last delta is always for who iterates.
        """
        self._writer = writer

    def _take(self, token: TokenDelta) -> bool:
        if self._writer is None or not self._writer.open:
            return False
        self._writer.write(self._choices[0].feed(token))
        return True

    async def aclose(self) -> None:
        await self._deltas.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, hold: AbstractAsyncContextManager[object]) -> AsyncGenerator[TextDelta]:
        live = len(self._choices)
        take = self._take if self.plain else None
        async with hold, aclosing(self._backend.generate(self.request, take)) as tokens:
            async for token in tokens:
                choice = self._choices[token.index]
                if choice.finished:
                    continue
                if token.cached_tokens:
                    self._cached_tokens = token.cached_tokens
                delta = choice.feed(token)
                if delta.finish_reason is not None:
                    live -= 1
                    if token.finish_reason is None and live:
                        self._backend.stop_choice(self.request.request_id, token.index)
                yield delta
                if not live:
                    return
        if live:
            raise EngineError(
                "The engine ended the request without finishing it.", hint="See the server's log."
            )


@attrs.define
class _Choice:
    """One choice while it is put together."""

    text: list[str] = attrs.field(factory=list)
    token_ids: list[int] = attrs.field(factory=list)
    logprobs: list[TokenLogprob] | None = None
    end: TextDelta | None = None

    def add(self, delta: TextDelta) -> None:
        self.text.append(delta.text)
        self.token_ids.extend(delta.token_ids)
        if delta.logprobs is not None:
            self.logprobs = [] if self.logprobs is None else self.logprobs
            self.logprobs.extend(delta.logprobs)
        if delta.finish_reason is not None:
            self.end = delta


async def collect(
    generation: Generation, note: Callable[[TextDelta], object] | None = None
) -> GenerationOutput:
    """Drain `generation` into one answer; `note` sees each delta as it comes.

    Errors: EngineError when the engine failed on it, EngineDead when closed.
    """
    choices: dict[int, _Choice] = {}
    prompt_logprobs = None
    async with generation:
        async for delta in generation:
            if note is not None:
                note(delta)
            raise_failure(delta)
            choices.setdefault(delta.index, _Choice()).add(delta)
            prompt_logprobs = delta.prompt_logprobs or prompt_logprobs
    outputs = [_output(index, choices[index]) for index in sorted(choices)]
    return GenerationOutput(
        generation.request_id,
        generation.prompt_token_ids,
        outputs,
        generation.usage,
        prompt_logprobs,
    )


def raise_failure(delta: TextDelta) -> None:
    """Turn a delta that ends in "error" or "cancelled" into the exception a waiting caller
    needs.
    """
    if delta.finish_reason == "error":
        raise EngineError(delta.error or "The engine failed on this request.")
    if delta.finish_reason == "cancelled":
        raise EngineDead(
            "The engine was closed before the answer was complete.", hint="Send the request again."
        )


def _output(index: int, choice: _Choice) -> CompletionOutput:
    reason = choice.end.finish_reason if choice.end else None
    stop = choice.end.stop_reason if choice.end else None
    return CompletionOutput(
        index, "".join(choice.text), choice.token_ids, reason, stop, choice.logprobs
    )
