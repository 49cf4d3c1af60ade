"""The way of a stream's deltas to the client: written in the engine's own call for as long as
nobody has to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, cast

from starlette.types import Message, Send

from openllm.types import TextDelta


def direct(send: Send) -> bool:
    """Whether `send` is uvicorn's own, which looks at nothing but the connection.

    What a middleware puts around it may use the current task or its context, and must be awaited in
    the request's.
    """
    return type(getattr(send, "__self__", None)).__module__.startswith("uvicorn.protocols.")


class Outlet:
    """Counts, encodes and sends deltas, from outside of the task that answers the request.

    uvicorn's `send` is a coroutine that waits only while a client takes in less than it is sent.
    Until then it runs to its end in one go, and no task has to be woken for it. `count` and
    `encode` are called once per delta.
    """

    __slots__ = ("_count", "_encode", "_rest", "_send")

    def __init__(
        self, send: Send, count: Callable[[TextDelta], object], encode: Callable[[TextDelta], bytes]
    ) -> None:
        self._send = cast("Callable[[Message], Coroutine[Any, Any, None]]", send)
        self._count = count
        self._encode = encode
        self._rest: asyncio.Task[None] | None = None  # what is held up; also when it has failed

    @property
    def open(self) -> bool:
        """Whether `write` may be called: not while an earlier delta is held up."""
        return self._rest is None

    def write(self, delta: TextDelta) -> None:
        """Send a delta, or begin to: where it is held up, it goes out once there is room."""
        self._count(delta)
        frame = self._encode(delta)
        if not frame:
            return
        rest = begun(self._send({"type": "http.response.body", "body": frame, "more_body": True}))
        if rest is not None:
            self._rest = asyncio.get_running_loop().create_task(_finish(rest))
            self._rest.add_done_callback(self._finished)

    def _finished(self, rest: asyncio.Task[None]) -> None:
        if not rest.cancelled() and rest.exception() is None:
            self._rest = None

    async def settle(self) -> None:
        """Wait until all that was written is with the server. Errors: what its sending raised."""
        if self._rest is not None:
            await self._rest

    def close(self) -> None:
        """Give up what is held up."""
        if self._rest is not None:
            self._rest.cancel()


async def _finish(rest: Awaitable[None]) -> None:
    await rest


def begun(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run `coroutine` up to where it has to wait. None when it came to its end; else await what is
    left of it.
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
