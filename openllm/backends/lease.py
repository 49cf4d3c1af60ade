"""What a request holds while it runs, an adapter say, let go of the moment it is over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from openllm.errors import OpenLLMError
from openllm.types import Running, Sink, TokenDelta

Begin = Callable[[Sink[TokenDelta]], Awaitable[Running]]


class Lease:
    """Stands between a request's engine and its sink, and is what `submit` returns."""

    __slots__ = ("_left", "_release", "_running", "_sink")

    def __init__(self, sink: Sink[TokenDelta], choices: int, release: Callable[[], object]) -> None:
        self._sink = sink
        self._left = choices
        self._release = release
        self._running: Running | None = None

    async def begin(self, begin: Begin) -> Running:
        """Begin the request; what it holds is let go of if that fails."""
        try:
            self._running = await begin(self)
        except BaseException:
            self._end()
            raise
        return self

    def put(self, delta: TokenDelta) -> None:
        if delta.finish_reason is not None:
            self._left -= 1
            if not self._left:
                self._end()
        self._sink.put(delta)

    def fail(self, error: OpenLLMError) -> None:
        self._end()
        self._sink.fail(error)

    def cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._end()

    def stop(self, index: int) -> None:
        if self._running is not None:
            self._running.stop(index)

    def _end(self) -> None:
        release, self._release = self._release, _nothing
        release()


def _nothing() -> None:
    """Let go of nothing: that has been done."""
