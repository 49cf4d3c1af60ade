"""Answers for workers that are being started again: a connection that none of them takes gets a 503
within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
import threading

import msgspec

from openllm.errors import Overloaded
from openllm.http.dialect import tell
from openllm.protocols.openai.dialect import OPENAI

RETRY_SECONDS = 5
PATIENCE_SECONDS = 0.5  # that a connection may wait for a worker
LOOK_SECONDS = 0.05  # between two looks at those that wait
MOST_SECONDS = 120.0  # that a worker may need to come back
READ_SECONDS = 2.0  # for a client to send its request and take the answer
MOST_HEADERS = 64 * 1024
_TCP_INFO_WAITING = struct.Struct("=24xI")  # tcpi_unacked (linux/tcp.h): for listeners, the queue


def _refusal() -> bytes:
    error = Overloaded(
        "The process that answers has ended and is being started again.",
        hint="Try again in a moment.",
    )
    failure = tell(error, OPENAI)
    body = msgspec.json.encode(OPENAI.error(failure))
    lines = (
        f"HTTP/1.1 {failure.status} Service Unavailable",
        f"content-type: {OPENAI.content_type.decode()}",
        f"content-length: {len(body)}",
        f"retry-after: {RETRY_SECONDS}",
        "connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


class StandIn:
    """Watches a listening TCP socket that other processes take connections from. After `call`, it
    takes those that have waited for `PATIENCE_SECONDS`, until it sees somebody else take one. On
    Linux alone is it told how many wait; elsewhere it does nothing.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = socket.socket(fileno=os.dup(listener.fileno()))
        self._listener.setblocking(False)
        self._called = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="openllm-stand-in", daemon=True)
        if sys.platform == "linux":
            self._thread.start()

    def call(self) -> None:
        """A worker has ended: take what is left waiting until another one is there."""
        self._called.set()

    def close(self) -> None:
        """Leave the socket alone from now on."""
        self._over = True
        self._called.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._over:
            self._called.wait()
            self._called.clear()
            if not self._over:
                asyncio.run(self._stand_in())

    async def _stand_in(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + MOST_SECONDS
        since: float | None = None  # when the connection that waits longest was first seen
        before = 0
        while loop.time() < end and not self._over:
            if self._called.is_set():
                self._called.clear()
                end = loop.time() + MOST_SECONDS
            waiting = self._waiting()
            if waiting < before:
                break  # a worker takes them again
            if waiting and since is None:
                since = loop.time()
            if waiting and since is not None and loop.time() - since >= PATIENCE_SECONDS:
                await self._refuse_all()
                since, waiting = None, 0
            before = waiting
            await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(0)  # what was sent last is on its way

    def _waiting(self) -> int:
        """Connections that nobody has taken."""
        info = self._listener.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_WAITING.size
        )
        found: int = _TCP_INFO_WAITING.unpack(info)[0]
        return found

    async def _refuse_all(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                await loop.connect_accepted_socket(_Refusal, connection)


class _Refusal(asyncio.Protocol):
    """One connection: its request's headers are read, then it is refused and closed."""

    def __init__(self) -> None:
        self._read = b""
        self._told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what a stream socket has
        self._transport = transport
        asyncio.get_running_loop().call_later(READ_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._told:
            return  # the rest of the body: unread, it would take the answer back
        self._read += data
        if b"\r\n\r\n" in self._read or len(self._read) > MOST_HEADERS:
            self._told = True
            self._transport.write(_refusal())
            self._transport.write_eof()
