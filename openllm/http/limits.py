"""How much comes in: header size, requests per key, waiting prompt tokens, and nothing new while
draining.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive, Scope

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, Overloaded, RateLimited, RequestTimeout
from openllm.http.keys.caller import Caller

_LEAST_RATE = 16 * 1024  # bytes per second, at which a body may come for as long as it takes
_HURRY_SECONDS = 5.0


class RequestLimits:
    """Counts the requests for work that are being answered; looks at each before its body is
    read.
    """

    def __init__(self, settings: Settings) -> None:
        self._header_bytes = settings.max_header_bytes
        self._per_key = settings.max_requests_per_key
        self._running: Counter[str] = Counter()  # by the names of keys
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self.bodies = BodyTimes(settings.body_seconds)

    @property
    def draining(self) -> bool:
        """Whether nothing new is taken; once it is true, bodies that still come have to hurry."""
        return self._draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._draining = draining
        if draining:
            self.bodies.hurry()

    @property
    def live(self) -> int:
        """Requests for work that are being answered."""
        return self._running.total()

    def of(self, name: str) -> int:
        """Requests for work with the key of that name."""
        return self._running[name]

    async def wait_idle(self) -> None:
        """Return once no request is being answered."""
        await self._idle.wait()

    def check_headers(self, scope: Scope) -> None:
        """Errors: InvalidRequest for too many bytes of them, or of path and query."""
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._header_bytes:
            raise InvalidRequest(f"The headers are larger than {self._header_bytes} bytes.")
        if len(scope["path"]) + len(scope["query_string"]) > self._header_bytes:
            raise InvalidRequest(f"The path is longer than {self._header_bytes} bytes.")

    @contextmanager
    def work(self, caller: Caller) -> Iterator[None]:
        """The time of one request for work by `caller`. Errors: Overloaded while draining,
        RateLimited.
        """
        if self.draining:
            raise Overloaded(
                "The server is shutting down.",
                hint="Try again; another one may answer.",
                retry_after=5,
            )
        name, account = caller.name, caller.account
        most = self._per_key
        if account is not None and account.limits.max_requests is not None:
            most = account.limits.max_requests
        if most and self._running[name] >= most:
            raise RateLimited(
                f"{most} requests with this key are running already.", hint="Wait for one to end."
            )
        if account is not None:
            account.begin()
        self._running[name] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]
            if not self._running:
                self._idle.set()


class BodyTimes:
    """How long the bodies of requests may take to come: `seconds` (0: as long as they like), and a
    second more for each 16 KiB that have come. While the server drains, those that still come have
    5 seconds left.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: set[asyncio.Timeout] = set()
        self._hurried = False
        self._last: float | None = None  # when all bodies have to be there, as the loop counts

    async def next(self, receive: Receive, begun: float, size: int) -> Message:
        """The next message of a request whose body was begun at `begun`, as the loop counts, and
        has `size` bytes by now. Errors: RequestTimeout.
        """
        due = begun + self._seconds + size / _LEAST_RATE if self._seconds else math.inf
        if self._hurried:
            due = min(due, self._end())
        try:
            async with asyncio.timeout_at(None if due == math.inf else due) as timeout:
                self._waiting.add(timeout)
                try:
                    return await receive()
                finally:
                    self._waiting.discard(timeout)
        except TimeoutError:
            raise RequestTimeout(
                "The body did not come in time.", hint="Send it at once, or in smaller requests."
            ) from None

    def hurry(self) -> None:
        """Give those that still come little time."""
        self._hurried = True
        for timeout in self._waiting:
            due = timeout.when()
            if due is None or due > self._end():
                timeout.reschedule(self._end())

    def _end(self) -> float:
        if self._last is None:
            self._last = asyncio.get_running_loop().time() + _HURRY_SECONDS
        return self._last


class TokenQueue:
    """Prompt tokens whose first answer token is still to come; more than `limit` of them are
    refused (0: no limit). Where several keys wait, each has its part of the limit, and one that
    fills the queue keeps no other out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: Counter[str] = Counter()  # by the names of keys

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def enter(self, tokens: int, name: str = "") -> Ticket:
        """Errors: Overloaded. A single long prompt is always let in, else it could never be
        answered.
        """
        own = self._waiting[name]
        full = self._limit and self.waiting + tokens > self._limit
        if full and own and own + tokens > self._limit // len(self._waiting):
            raise Overloaded("Too many prompt tokens are waiting.", hint="Try again later.")
        self._waiting[name] += tokens
        return Ticket(self, tokens, name)

    def leave(self, tokens: int, name: str) -> None:
        """So many of them wait no more."""
        self._waiting[name] -= tokens
        if not self._waiting[name]:
            del self._waiting[name]


class Ticket:
    """A place in a `TokenQueue` for `tokens` of a prompt; leaving it twice is fine."""

    __slots__ = ("_name", "_queue", "_waits", "tokens")

    def __init__(self, queue: TokenQueue, tokens: int, name: str) -> None:
        self._queue = queue
        self._name = name
        self._waits = True
        self.tokens = tokens

    def leave(self) -> None:
        if self._waits:
            self._waits = False
            self._queue.leave(self.tokens, self._name)
