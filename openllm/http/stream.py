"""A streamed answer: deltas become bytes in the engine's own call, for as long as nobody has to
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, cast

import msgspec
from starlette.types import Message, Send

from openllm.answer.generation import failure_of
from openllm.http.exchange import Exchange
from openllm.http.metrics import Meter
from openllm.types import AnswerDelta, Sink


class Writer(Protocol):
    """How one protocol writes one request's stream."""

    def opening(self) -> bytes:
        """What it begins with."""

    def delta(self, delta: AnswerDelta) -> bytes:
        """One delta; b"" when there is nothing to say."""


class Stream:
    """Counts, encodes and sends the deltas of one HTTP request, all its prompts.

    What is put is sent at once where the server takes it at once: then no task has to be woken for
    a token. While a client takes in less than it is sent, or where a middleware stands around
    `send`, frames wait, joined, for the request's own task, which sends them in `run`. So nothing
    is overtaken, and what waits is bounded by the answer.
    """

    def __init__(self, exchange: Exchange, writer: Writer, meter: Meter, choices: int) -> None:
        """`choices`: deltas with a finish_reason that will come, over all prompts."""
        self._exchange = exchange
        self._writer = writer
        self._meter = meter
        self._left = choices
        self._send = cast("Callable[[Message], Coroutine[Any, Any, None]]", exchange.send)
        self._direct = direct(exchange.send)
        self._frames: list[bytes] = []
        self._rest: Awaitable[None] | None = None  # of a frame that is held up
        self._error: Exception | None = None
        self._begun = False  # something has been put
        self._waiter: asyncio.Future[None] | None = None  # while the request's task waits
        self._silent = True  # nothing has been sent since it was last looked at
        self._pulse: asyncio.TimerHandle | None = None

    def sink(self, base: int) -> Sink[AnswerDelta]:
        """Where the deltas of one prompt go, whose first choice is number `base` of the answer."""
        return _Shifted(self, base) if base else self

    def put(self, delta: AnswerDelta) -> None:
        if self._error is not None:
            return
        try:
            self._meter.count(delta)
            if delta.finish_reason is not None:
                self._left -= 1
                if (failure := failure_of(delta)) is not None:
                    self.fail(failure)
                    return
            frame = self._writer.delta(delta)
            if not self._begun:
                self._begun = True
                frame = self._writer.opening() + frame
            self._pass(frame)
        except Exception as error:  # noqa: BLE001  the request's own task raises it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the stream with `error`, once what was put before is sent."""
        if self._error is None:
            self._error = error
            self._wake()

    def _pass(self, frame: bytes) -> None:
        self._silent = False
        if self._waiter is None or not self._direct:
            self._frames.append(frame)
            self._wake()
            return
        if frame:
            self._rest = begun(
                self._send({"type": "http.response.body", "body": frame, "more_body": True})
            )
        if self._rest is not None or not self._left:
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def run(self) -> None:
        """In the request's task: return once all choices have ended and their deltas are sent. The
        headers are sent at once; while nothing comes, a comment now and then keeps proxies from
        closing the connection.

        Errors: what the stream failed with, what its sending raised.
        """
        self._watch_silence()
        try:
            await self._carry()
        finally:
            if self._pulse is not None:
                self._pulse.cancel()

    def _watch_silence(self) -> None:
        """Look twice in the time that a stream may be silent, and again as long as it runs."""
        seconds = self._exchange.settings.sse_keepalive
        comment = self._exchange.dialect.framing.comment
        if not seconds or not comment:
            return
        if self._silent and self._waiter is not None:
            self._pass(comment)
        self._silent = True
        self._pulse = asyncio.get_running_loop().call_later(seconds / 2, self._watch_silence)

    async def _carry(self) -> None:
        if self._error is not None and not self._begun:
            raise self._error  # while it still can be a status
        await self._exchange.begin_stream()
        while True:
            if self._rest is not None:
                rest, self._rest = self._rest, None
                await rest
            await self._write()
            if self._error is not None:
                raise self._error
            if not self._left:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def _write(self) -> None:
        """Send the frames that wait."""
        while self._frames:
            body = b"".join(self._frames)
            self._frames.clear()
            if body:
                await self._send({"type": "http.response.body", "body": body, "more_body": True})


class _Shifted:
    """The sink of a prompt that is not the first: choice j of prompt i is number i * n + j."""

    def __init__(self, stream: Stream, base: int) -> None:
        self._stream = stream
        self._base = base

    def put(self, delta: AnswerDelta) -> None:
        self._stream.put(msgspec.structs.replace(delta, index=self._base + delta.index))

    def fail(self, error: Exception) -> None:
        self._stream.fail(error)


def direct(send: Send) -> bool:
    """Whether `send` is uvicorn's own, which looks at nothing but the connection.

    What a middleware puts around it may use the current task or its context, and must be awaited in
    the request's.
    """
    return type(getattr(send, "__self__", None)).__module__.startswith("uvicorn.protocols.")


def begun(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run `coroutine` up to where it has to wait. None when it came to its end; else await what is
    left of it.

    uvicorn's `send` waits only while a client takes in less than it is sent.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return None
    return _Rest(coroutine, waits_for)


class _Rest:
    """A coroutine that was begun outside of the task that will finish it."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for  # the future, for the task to wait on

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._waits_for
        except BaseException:  # cancelled: let it clean up
            self._coroutine.close()
            raise
        yield from self._coroutine.__await__()
