"""One process of the load generator: sends its share of the requests and notes when what comes."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import cast

import attrs
import httptools

from openllm.cli.bench.stream import Exchanged, StreamReader


@attrs.frozen
class Share:
    """What one process has to ask: `requests` one after the other on `streams` connections, or at
    their `times` (seconds after the start), at most `streams` at once (None: no limit). An answer
    may take `patience` seconds.
    """

    host: str
    port: int
    secure: bool
    requests: list[bytes]
    streams: int | None
    times: list[float] | None
    patience: float


@attrs.frozen
class Driven:
    """What came of a share; `busy`: how much of a core this process used."""

    exchanged: list[Exchanged]
    busy: float


class Line(asyncio.Protocol):
    """One connection to the server, with one request on it at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._reader: StreamReader | None = None

    @property
    def usable(self) -> bool:
        """Whether another request can be sent on it."""
        reader = self._reader
        idle = reader is None or (reader.complete and reader.keeps_alive)
        return idle and self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, exchanged: Exchanged) -> None:
        """Send `request` and read its answer into `exchanged`, whatever it is."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("it was closed")
        self._done = asyncio.get_running_loop().create_future()
        self._reader = StreamReader(exchanged)
        exchanged.sent = time.monotonic()
        self._transport.write(request)
        await self._done

    def leave(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # of a stream they are

    def data_received(self, data: bytes) -> None:
        if self._reader is None:
            return
        try:
            self._reader.feed(data, time.monotonic())
        except httptools.HttpParserError:
            self._reader.exchanged.error = "What came is not HTTP."
            self.leave()
        if self._reader.complete or self._reader.exchanged.error:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reader is not None and not self._reader.complete:
            self._reader.cut()
        self._finish()

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Driver:
    """Sends the requests of one share."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._tls = ssl.create_default_context() if share.secure else None
        self._idle: list[Line] = []
        self._gate = asyncio.Semaphore(share.streams) if share.streams else None
        self.exchanged: list[Exchanged] = []

    async def connect(self) -> None:
        """Open the connections of a closed loop, so that no request waits for its own."""
        if self._share.times is None:
            lines = min(self._share.streams or 1, len(self._share.requests))
            try:
                self._idle = [await self._line() for _ in range(lines)]
            except OSError:
                self._idle = []  # each request tries again, and says why it cannot

    async def run(self, start: float) -> None:
        """Send all of them, the first at `start` of the machine's monotonic clock."""
        await asyncio.sleep(max(start - time.monotonic(), 0.0))
        share = self._share
        if share.times is None:
            waiting = deque(share.requests)
            await asyncio.gather(*(self._stream(waiting) for _ in range(share.streams or 1)))
        else:
            await asyncio.gather(*await self._open(share.times, start))
        for line in self._idle:
            line.leave()

    async def _stream(self, waiting: deque[bytes]) -> None:
        while waiting:
            await self._ask(waiting.popleft(), None)

    async def _open(self, times: Sequence[float], start: float) -> list[asyncio.Task[None]]:
        tasks = []
        for request, after in zip(self._share.requests, times, strict=True):
            if (pause := start + after - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(self._gated(request, start + after)))
        return tasks

    async def _gated(self, request: bytes, due: float) -> None:
        if self._gate is None:
            await self._ask(request, due)
            return
        async with self._gate:
            await self._ask(request, due)

    async def _ask(self, request: bytes, due: float | None) -> None:
        """One request on a connection that is free, or a new one; `due`: when it should leave."""
        exchanged = Exchanged(sent=time.monotonic())
        self.exchanged.append(exchanged)
        line: Line | None = None
        try:
            async with asyncio.timeout(self._share.patience):
                line = await self._free_line()
                await line.ask(request, exchanged)
        except TimeoutError:
            exchanged.error = f"No end within {self._share.patience:g} s."
        except OSError as error:
            exchanged.error = f"No connection: {error.strerror or error}."
        exchanged.late = 0.0 if due is None else max(exchanged.sent - due, 0.0)
        if line is not None and line.usable:
            self._idle.append(line)
        elif line is not None:
            line.leave()

    async def _free_line(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
        return await self._line()

    async def _line(self) -> Line:
        share = self._share
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(Line, share.host, share.port, ssl=self._tls)
        return line
