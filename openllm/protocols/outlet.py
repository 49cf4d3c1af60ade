"""The way of a stream's deltas to the client: written in the engine's own call for as long as nobody has to wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

from starlette.types import Message, Send

from openllm.types import TextDelta


class Outlet:
    """Counts, encodes and sends deltas, from outside of the task that answers the request.

    ASGI's `send` is a coroutine; servers let it wait only while a client takes in less than it is sent. Until then it
    runs to its end in one go, and no task has to be woken for it. `count` and `encode` are called once per delta.
    """

    __slots__ = ("_count", "_encode", "_rest", "_send")

    def __init__(self, send: Send, count: Callable[[TextDelta], object], encode: Callable[[TextDelta], bytes]) -> None:
        self._send = cast("Callable[[Message], Coroutine[Any, Any, None]]", send)
        self._count = count
        self._encode = encode
        self._rest: Awaitable[None] | None = None

    @property
    def open(self) -> bool:
        """Whether `write` may be called: not while an earlier delta is held up."""
        return self._rest is None

    def write(self, delta: TextDelta) -> None:
        """Send a delta. Where that has to wait, `settle` does."""
        self._count(delta)
        frame = self._encode(delta)
        if frame:
            self._rest = begun(self._send({"type": "http.response.body", "body": frame, "more_body": True}))

    async def settle(self) -> None:
        """Wait until all that was written is with the server."""
        if self._rest is not None:
            rest, self._rest = self._rest, None
            await rest


def begun(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run `coroutine` up to where it has to wait. None when it came to its end; else await what is left of it."""
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
