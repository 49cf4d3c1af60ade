"""How much comes in: header size, requests per key, waiting prompt tokens, and nothing new while
draining.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, Overloaded, RateLimited
from openllm.http.auth import Rank


class RequestLimits:
    """Counts the requests for work that are being answered; looks at each before its body is
    read.
    """

    def __init__(self, settings: Settings) -> None:
        self._header_bytes = settings.max_header_bytes
        self._per_key = settings.max_requests_per_key
        self._running: Counter[Rank] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    @property
    def live(self) -> int:
        """Requests for work that are being answered."""
        return self._running.total()

    async def wait_idle(self) -> None:
        """Return once no request is being answered."""
        await self._idle.wait()

    def check_headers(self, headers: Mapping[bytes, bytes]) -> None:
        """Errors: InvalidRequest for too many bytes of them."""
        if sum(map(len, headers)) + sum(map(len, headers.values())) > self._header_bytes:
            raise InvalidRequest(f"The headers are larger than {self._header_bytes} bytes.")

    @contextmanager
    def work(self, rank: Rank) -> Iterator[None]:
        """The time of one request for work by whoever has `rank`. Errors: Overloaded while
        draining, RateLimited.
        """
        if self.draining:
            raise Overloaded(
                "The server is shutting down.",
                hint="Try again; another one may answer.",
                retry_after=5,
            )
        most = self._per_key
        if most and self._running[rank] >= most:
            raise RateLimited(
                f"{most} requests with this key are running already.", hint="Wait for one to end."
            )
        self._running[rank] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running[rank] -= 1
            if not self._running[rank]:
                del self._running[rank]
            if not self._running:
                self._idle.set()


class TokenQueue:
    """Prompt tokens whose first answer token is still to come; more than `limit` of them are
    refused (0: no limit).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.waiting = 0

    def enter(self, tokens: int) -> Ticket:
        """Errors: Overloaded. A single long prompt is always let in, else it could never be
        answered.
        """
        if self._limit and self.waiting and self.waiting + tokens > self._limit:
            raise Overloaded("Too many prompt tokens are waiting.", hint="Try again later.")
        self.waiting += tokens
        return Ticket(self, tokens)


class Ticket:
    """A place in a `TokenQueue` for `tokens` of a prompt; leaving it twice is fine."""

    __slots__ = ("_queue", "_waits", "tokens")

    def __init__(self, queue: TokenQueue, tokens: int) -> None:
        self._queue = queue
        self._waits = True
        self.tokens = tokens

    def leave(self) -> None:
        if self._waits:
            self._waits = False
            self._queue.waiting -= self.tokens
