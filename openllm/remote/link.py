"""One end of the socket between an engine and its user: frames out, frames in, and when to hold
back.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import msgspec

from openllm.backends.framing import Splitter
from openllm.remote.frames import Frame, pack

log = logging.getLogger("openllm.remote")


class Link(asyncio.Protocol):
    """A protocol of `asyncio`. Subclasses say what to do with a body (`receive`) and when the other
    side is gone.
    """

    def __init__(self) -> None:
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self.full = False  # the other side is slow: what is sent now waits in memory

    @property
    def connected(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the other side has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def send(self, frame: Frame) -> None:
        """Put a frame on the wire; dropped when the other side is gone. Errors: InvalidRequest when
        it is too large.
        """
        data = pack(frame)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def hang_up(self) -> None:
        """Close once everything sent is on its way."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def receive(self, body: bytes) -> None:
        """One frame has come. Errors: msgspec.DecodeError, msgspec.ValidationError for what is
        none.
        """
        raise TypeError("a link needs a receive method")

    def lost(self) -> None:
        """The other side is gone, or this one hung up."""

    def drained(self) -> None:
        """The other side takes data again."""

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._splitter.feed(data):
                self.receive(body)
        except (ValueError, msgspec.MsgspecError) as error:
            log.error("Closing a connection that sent no frames of ours: %s.", error)
            self.cut()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.lost()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.drained()


class Numbers:
    """Calls that wait for their answer, by number."""

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    @property
    def waiting(self) -> int:
        """Calls that have no answer yet."""
        return len(self._waiting)

    def new(self) -> int:
        self._last += 1
        return self._last

    def wait(self, number: int) -> asyncio.Future[Any]:
        """A future for the answer to `number`."""
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._waiting.pop(number, None))
        return future

    def answer(self, number: int, value: Any = None, error: BaseException | None = None) -> None:
        """Answers nobody waits for any more are dropped."""
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def fail(self, error: BaseException) -> None:
        """Everybody who waits gets `error`."""
        for number in list(self._waiting):
            self.answer(number, error=error)
