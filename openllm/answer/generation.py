"""One admitted request on its way through an engine: tokens are put in, text comes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs
import msgspec

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.parts import together
from openllm.errors import EngineDead, EngineError, OpenLLMError
from openllm.types import (
    AnswerDelta,
    CompletionOutput,
    GenerationOutput,
    Part,
    Running,
    Sink,
    TokenDelta,
    TokenLogprob,
    TokenRequest,
    Usage,
)

log = logging.getLogger(__name__)

Submit = Callable[[TokenRequest, Sink[TokenDelta]], Awaitable[Running]]


class Generation:
    """A sink of tokens, whose text goes on to another sink in the same call.

    It is also the request as it runs: `cancel` it when nobody wants the answer any more, which
    frees what the engine holds for it; after its end that does nothing.
    """

    def __init__(
        self, request: TokenRequest, choices: Sequence[ChoiceAssembler], submit: Submit
    ) -> None:
        self.request = request
        self._choices = choices
        self._submit = submit
        self._left = len(choices)
        self._cached_tokens = 0
        self.begun: float | None = None  # `time.monotonic()` when the engine began, if it says
        self._sink: Sink[AnswerDelta] = _NOWHERE
        self._running: Running | None = None
        self._unwanted: list[int] = []  # choices that ended before the engine had said it has them
        self._over = False

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def prompt_token_ids(self) -> list[int]:
        return self.request.prompt_token_ids

    @property
    def choices(self) -> int:
        """How many answers there will be."""
        return len(self._choices)

    @property
    def usage(self) -> Usage:
        """Tokens so far; final once it is over."""
        return Usage(
            len(self.request.prompt_token_ids),
            sum(choice.tokens for choice in self._choices),
            self._cached_tokens,
            sum(choice.reasoning_tokens for choice in self._choices),
        )

    def go_through(self, gate: Callable[[Submit], Submit]) -> None:
        """Have `gate` around what `begin` does. To be called before that."""
        self._submit = gate(self._submit)

    async def begin(self, sink: Sink[AnswerDelta]) -> Running:
        """Let the engine have the request; what comes of it goes to `sink`, also before this
        returns.

        Errors: Overloaded (the queue is full), InvalidRequest (a structure that does not compile),
        AdapterNotFound, EngineDead.
        """
        self._sink = sink
        try:
            running = self._running = await self._submit(self.request, self)
        except BaseException:
            self._over = True
            raise
        if self._over:
            running.cancel()
        for index in self._unwanted:
            running.stop(index)
        return self

    def put(self, token: TokenDelta) -> None:
        choice = self._choices[token.index]
        if choice.finished or self._over:
            return
        if token.cached_tokens:
            self._cached_tokens = token.cached_tokens
        if token.begun is not None and self.begun is None:
            self.begun = token.begun
        try:
            delta = choice.feed(token)
        except Exception as error:  # noqa: BLE001  the engine must not suffer; the log has it all
            self.cancel()
            self._sink.fail(self._defect(error))
            return
        if delta.finish_reason is not None:
            self._ended(token)
        self._sink.put(delta)

    def _ended(self, last: TokenDelta) -> None:
        """A choice has ended, by its last token or by a stop string in it."""
        self._left -= 1
        self._over = not self._left
        if last.finish_reason is None:
            self.cancel() if self._over else self.stop(last.index)

    def fail(self, error: OpenLLMError) -> None:
        if not self._over:
            self._over = True
            self._sink.fail(error)

    def cancel(self) -> None:
        self._over = True
        if self._running is not None:
            self._running.cancel()

    def stop(self, index: int) -> None:
        if self._running is not None:
            self._running.stop(index)
        else:
            self._unwanted.append(index)

    def _defect(self, error: Exception) -> OpenLLMError:
        kind = type(error).__name__
        log.error("%s: unexpected %s while the answer was read", self.request_id, kind)
        log.debug("%s: unexpected error", self.request_id, exc_info=error)
        return EngineError(
            "Something went wrong while the answer was read.",
            hint=f"The server's log has more under {self.request_id}.",
        )


class _Nowhere:
    """The sink of a generation that has not begun."""

    def put(self, delta: AnswerDelta) -> None:
        """Nothing comes before `begin`."""

    def fail(self, error: OpenLLMError) -> None:
        """Nothing fails before `begin`."""


_NOWHERE = _Nowhere()


def join_text(first: AnswerDelta, second: AnswerDelta) -> AnswerDelta:
    """Two consecutive deltas of one choice as one."""
    return msgspec.structs.replace(
        second,
        text=first.text + second.text,
        token_ids=first.token_ids + second.token_ids,
        logprobs=None if first.logprobs is None else first.logprobs + (second.logprobs or []),
        prompt_logprobs=first.prompt_logprobs or second.prompt_logprobs,
        cached_tokens=first.cached_tokens or second.cached_tokens,
        parts=together((*first.parts, *second.parts)),
    )


@attrs.define
class _Choice:
    """One choice while it is put together."""

    text: list[str] = attrs.field(factory=list)
    token_ids: list[int] = attrs.field(factory=list)
    logprobs: list[TokenLogprob] | None = None
    parts: list[Part] = attrs.field(factory=list)
    end: AnswerDelta | None = None

    def add(self, delta: AnswerDelta) -> None:
        self.text.append(delta.text)
        self.token_ids.extend(delta.token_ids)
        self.parts.extend(delta.parts)
        if delta.logprobs is not None:
            self.logprobs = [] if self.logprobs is None else self.logprobs
            self.logprobs.extend(delta.logprobs)
        if delta.finish_reason is not None:
            self.end = delta

    def output(self, index: int) -> CompletionOutput:
        return CompletionOutput(
            index,
            "".join(self.text),
            self.token_ids,
            self.end.finish_reason if self.end else None,
            self.end.stop_reason if self.end else None,
            self.logprobs,
            together(self.parts),
        )


class _Whole:
    """A sink that puts the deltas of one generation together."""

    def __init__(self, choices: int, note: Callable[[AnswerDelta], object] | None) -> None:
        self.choices = [_Choice() for _ in range(choices)]
        self.prompt_logprobs: list[TokenLogprob | None] | None = None
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = choices
        self._note = note

    def put(self, delta: AnswerDelta) -> None:
        if self._note is not None:
            self._note(delta)
        self.choices[delta.index].add(delta)
        self.prompt_logprobs = delta.prompt_logprobs or self.prompt_logprobs
        if delta.finish_reason is None:
            return
        self._left -= 1
        failure = failure_of(delta)
        if failure is not None:
            self.fail(failure)
        elif not self._left and not self.complete.done():
            self.complete.set_result(None)

    def fail(self, error: OpenLLMError) -> None:
        if not self.complete.done():
            self.complete.set_exception(error)


async def collect(
    generation: Generation, note: Callable[[AnswerDelta], object] | None = None
) -> GenerationOutput:
    """The whole answer; `note` sees each delta as it comes.

    Errors: those of `begin`; EngineError when the engine failed on it, EngineDead when closed.
    """
    whole = _Whole(generation.choices, note)
    try:
        await generation.begin(whole)
        await whole.complete
    finally:
        generation.cancel()
    return GenerationOutput(
        generation.request_id,
        generation.prompt_token_ids,
        [choice.output(index) for index, choice in enumerate(whole.choices)],
        generation.usage,
        whole.prompt_logprobs,
    )


def failure_of(delta: AnswerDelta) -> OpenLLMError | None:
    """What a waiting caller is told for a delta that ends in "error" or "cancelled"."""
    if delta.finish_reason == "error":
        return EngineError(delta.error or "The engine failed on this request.")
    if delta.finish_reason == "cancelled":
        return EngineDead(
            "The engine was closed before the answer was complete.", hint="Send the request again."
        )
    return None


def raise_failure(delta: AnswerDelta) -> None:
    """Raise what `failure_of` finds."""
    if (error := failure_of(delta)) is not None:
        raise error
