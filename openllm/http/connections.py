"""uvicorn's connections with limits: on the time in which a request's head comes, on its size, and
on how long a client leaves an answer unread.

uvicorn alone waits for the rest of a head, or for a first byte, as long as a client keeps the
connection open, and keeps what there is of a head, however long it becomes. As long does it wait
for a client that reads nothing of its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import attrs
import h11
import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol

from openllm.config.settings import Settings

_TOO_SLOW = (408, b"Request Timeout")
_TOO_LARGE = (431, b"Request Header Fields Too Large")
DRAINING_SECONDS = 5.0  # that a client may read nothing for while the server drains
LAST_SECONDS = 1.0  # the same once nothing more is written


@attrs.frozen
class HeadLimits:
    """What a request's first line and headers may take."""

    seconds: float  # from the opened connection, or the first byte after an answer; 0: no limit
    most_bytes: int


class Connections:
    """The open connections of one process. A client that reads nothing for `patience` seconds while
    its answer is held up, because the buffers between are full, is hung up on (0: never).
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._open: WeakSet[Limited] = WeakSet()
        self._finishing = False

    def __iter__(self) -> Iterator[Limited]:
        return iter(self._open)

    def add(self, connection: Limited) -> None:
        self._open.add(connection)

    def remove(self, connection: Limited) -> None:
        self._open.discard(connection)

    def hurry(self, seconds: float = DRAINING_SECONDS) -> None:
        """From here on a client may read nothing for `seconds` at most."""
        self.patience = min(self.patience or seconds, seconds)
        for connection in self._open:
            if connection.flow.write_paused:
                connection.await_reader()

    def finish(self) -> None:
        """Nothing more is written: hang up on each client that reads nothing of what is left for
        `LAST_SECONDS`.
        """
        if not self._finishing:
            self._finishing = True
            self._look_at_all({})

    def _look_at_all(self, before: dict[Limited, int]) -> None:
        left = {connection: size for connection in self._open if (size := connection.unsent)}
        for connection, size in left.items():
            if size >= before.get(connection, size + 1):
                connection.transport.abort()
        loop = asyncio.get_running_loop()
        loop.call_later(LAST_SECONDS, self._look_at_all, left)


class Limited(asyncio.Protocol):
    """Comes before one of uvicorn's protocols; `limits` and `all_open` are set by
    `limited_protocol`.
    """

    limits: HeadLimits
    all_open: Connections
    # uvicorn's
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: Any

    _since: float | None = None  # when the head that is awaited was begun
    _head_bytes = 0  # of it that have come
    _look: asyncio.TimerHandle | None = None
    _look_at_reader: asyncio.TimerHandle | None = None  # while writing is paused

    @property
    def between(self) -> bool:
        """Whether the next byte is of a request's head."""
        raise NotImplementedError

    @property
    def in_body(self) -> bool:
        """Whether the next byte is of a request's body."""
        raise NotImplementedError

    @property
    def _answered(self) -> bool:
        """Whether no answer is on its way."""
        cycle: Any = getattr(self, "cycle", None)
        return cycle is None or bool(cycle.response_complete)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.all_open.add(self)
        self._since = self.loop.time()
        if self.limits.seconds:
            self._look = self.loop.call_later(self.limits.seconds, self._look_at_time)

    def connection_lost(self, error: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        self._stop_waiting()
        self.all_open.remove(self)
        super().connection_lost(error)

    @property
    def unsent(self) -> int:
        """Bytes of answers that the system has not taken yet."""
        return self.transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.await_reader()

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def await_reader(self) -> None:
        """Hang up on the client unless it reads something in time; writing is paused."""
        self._stop_waiting()
        if patience := self.all_open.patience:
            self._look_at_reader = self.loop.call_later(patience, self._has_it_read, self.unsent)

    def _has_it_read(self, before: int) -> None:
        if self.unsent < before:
            self.await_reader()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._look_at_reader is not None:
            self._look_at_reader.cancel()
            self._look_at_reader = None

    def data_received(self, data: bytes) -> None:
        awaited = self.between
        if awaited:
            self._since = self._since or self.loop.time()
            self._head_bytes += len(data)
        super().data_received(data)
        if not self.between and not (self.in_body and self._answered):
            self.head_is_there()
        elif self._since is not None and self._head_bytes > self.limits.most_bytes:
            self._refuse(*_TOO_LARGE)

    def on_response_complete(self) -> None:
        if self.in_body:  # what is left of it is read and dropped, and that takes no longer
            self._since = self.loop.time()
        super().on_response_complete()  # type: ignore[misc]  # of uvicorn's protocol

    def head_is_there(self) -> None:
        """Nothing is awaited until another request begins."""
        self._since, self._head_bytes = None, 0

    def _look_at_time(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        now = self.loop.time()
        if self.flow.read_paused:  # it is we who do not read
            self._since = None if self._since is None else now
        due = (now if self._since is None else self._since) + self.limits.seconds
        if due > now:
            self._look = self.loop.call_at(due, self._look_at_time)
        elif self._head_bytes:
            self._refuse(*_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: bytes) -> None:
        """Answer, where that is possible, and close the connection."""
        if self._answered and self.between and not self.transport.is_closing():
            head = b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head % (status, reason))
        self.transport.close()


class _LimitedH11(Limited, H11Protocol):
    conn: h11.Connection

    @property
    def between(self) -> bool:
        return self.conn.their_state is h11.IDLE

    @property
    def in_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY


def _fast() -> type[Limited]:
    """The same on httptools, where it is installed."""
    if AutoHTTPProtocol is H11Protocol:
        return _LimitedH11
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class _LimitedHttpTools(Limited, HttpToolsProtocol):
        _between = True

        @property
        def between(self) -> bool:
            return self._between

        @property
        def in_body(self) -> bool:
            return not self._between

        def on_message_begin(self) -> None:
            self._since = self._since or self.loop.time()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._between = False
            self.head_is_there()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._between = True
            super().on_message_complete()

    return _LimitedHttpTools


def limited_protocol(settings: Settings) -> type[Limited]:
    """The class of connections that uvicorn's Config takes as `http`."""
    limits = HeadLimits(settings.header_seconds, settings.max_header_bytes)
    known = {"limits": limits, "all_open": Connections(settings.send_seconds)}
    return type("LimitedConnection", (_fast(),), known)


def limit_connections(settings: Settings) -> Connections:
    """From here on each server of uvicorn's in this process has such connections, unless it is told
    of others: BentoML makes its own. Returns all that it will have.
    """
    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS
    protocol = protocols["auto"] = limited_protocol(settings)
    return protocol.all_open
