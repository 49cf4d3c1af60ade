"""uvicorn's connections with limits: on the time in which a request's head comes, and on its size.

uvicorn alone waits for the rest of a head, or for a first byte, as long as a client keeps the
connection open, and keeps what there is of a head, however long it becomes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import h11
import uvicorn.config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol

from openllm.config.settings import Settings

_TOO_SLOW = (408, b"Request Timeout")
_TOO_LARGE = (431, b"Request Header Fields Too Large")


@attrs.frozen
class HeadLimits:
    """What a request's first line and headers may take."""

    seconds: float  # from the opened connection, or the first byte after an answer; 0: no limit
    most_bytes: int


class Limited(asyncio.Protocol):
    """Comes before one of uvicorn's protocols; `limits` is set by `limited_protocol`."""

    limits: HeadLimits
    # uvicorn's
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: Any

    _since: float | None = None  # when the head that is awaited was begun
    _head_bytes = 0  # of it that have come
    _look: asyncio.TimerHandle | None = None

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
        self._since = self.loop.time()
        if self.limits.seconds:
            self._look = self.loop.call_later(self.limits.seconds, self._look_at_time)

    def connection_lost(self, error: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(error)

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
    return type("LimitedConnection", (_fast(),), {"limits": limits})


def limit_connections(settings: Settings) -> None:
    """From here on each server of uvicorn's in this process has such connections, unless it is told
    of others: BentoML makes its own.
    """
    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS
    protocols["auto"] = limited_protocol(settings)
