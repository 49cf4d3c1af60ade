"""From push to pull: the one place that waits for a next delta."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from openllm.backends.base import Backend, join
from openllm.errors import OpenLLMError
from openllm.types import FinishReason, Running, Sink, TokenDelta, TokenRequest


class Delta(Protocol):
    """What is new of one choice; tokens and text alike."""

    @property
    def index(self) -> int: ...

    @property
    def finish_reason(self) -> FinishReason | None: ...


D = TypeVar("D", bound=Delta)
Begin = Callable[[Sink[D]], Awaitable[Running]]


def deltas(backend: Backend, request: TokenRequest) -> AsyncGenerator[TokenDelta]:
    """The deltas of `request` for a reader that pulls; late ones are joined.

    Closing the iterator, or cancelling the task that reads it, cancels the request.
    Errors: those of `Backend.check` and `Backend.submit`, and what the request fails with.
    """
    backend.check(request)
    return pull(partial(backend.submit, request), request.params.n, join)


async def pull(begin: Begin[D], choices: int, joined: Callable[[D, D], D]) -> AsyncGenerator[D]:
    """What `begin` puts into the sink it is given, until each of `choices` choices has ended.

    `joined` makes one delta of two that follow each other in one choice.
    """
    inbox = Inbox(joined)
    running = await begin(inbox)
    try:
        while choices:
            delta = await inbox.get()
            choices -= delta.finish_reason is not None
            yield delta
    finally:
        running.cancel()


class Inbox(Generic[D]):
    """A sink whose deltas wait for one reader; those that it is late for are joined."""

    __slots__ = ("_error", "_items", "_joined", "_waiter")

    def __init__(self, joined: Callable[[D, D], D]) -> None:
        self._joined = joined
        self._items: deque[D] = deque()
        self._error: OpenLLMError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, delta: D) -> None:
        last = self._items[-1] if self._items else None
        if last is not None and last.index == delta.index and last.finish_reason is None:
            self._items[-1] = self._joined(last, delta)
        else:
            self._items.append(delta)
        self._wake()

    def fail(self, error: OpenLLMError) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> D:
        """The next delta. Raises what `fail` was given once all deltas are read."""
        while not self._items:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()
