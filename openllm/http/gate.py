"""Who may come in: keys, header size, requests per key, waiting prompt tokens, and nobody new while
draining.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from starlette.types import Scope

from openllm.config.settings import Settings
from openllm.errors import Forbidden, InvalidRequest, Overloaded, RateLimited, Unauthorized

OPEN_PATHS = frozenset(("/livez", "/readyz"))
PAGE_PATHS = frozenset(("/", "/ui/app.js", "/ui/style.css"))


class Rank(IntEnum):
    """What a caller has shown."""

    NONE = 0
    USER = 1
    ADMIN = 2


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
    """A place in a `TokenQueue`; leaving it twice is fine."""

    __slots__ = ("_queue", "_tokens")

    def __init__(self, queue: TokenQueue, tokens: int) -> None:
        self._queue = queue
        self._tokens = tokens

    def leave(self) -> None:
        self._queue.waiting -= self._tokens
        self._tokens = 0


class Gate:
    """Checks each request before anything of its body is read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._user_key = _key(settings.api_key)
        self._admin_key = _key(settings.admin_key)
        self._inside: Counter[Rank] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    @property
    def live(self) -> int:
        """Requests for work that are being answered."""
        return self._inside.total()

    async def wait_idle(self) -> None:
        """Return once no request is being answered."""
        await self._idle.wait()

    def identify(self, path: str, headers: dict[bytes, bytes]) -> Rank:
        """What the caller's key allows. Errors: Unauthorized where a key is needed and the right
        one is not there.
        """
        if (
            sum(map(len, headers)) + sum(map(len, headers.values()))
            > self._settings.max_header_bytes
        ):
            raise InvalidRequest(
                f"The headers are larger than {self._settings.max_header_bytes} bytes."
            )
        sent = _credential(headers.get(b"authorization", b""), basic=path in PAGE_PATHS)
        is_admin = hmac.compare_digest(sent, self._admin_key) and bool(self._admin_key)
        is_user = hmac.compare_digest(sent, self._user_key) and bool(self._user_key)
        if is_admin:
            return Rank.ADMIN
        if is_user or not self._user_key:
            return Rank.USER
        if path in OPEN_PATHS:
            return Rank.NONE
        if not sent:
            raise Unauthorized(
                "An API key is needed.", hint="Send it as `Authorization: Bearer KEY`."
            )
        raise Unauthorized(
            "The API key is wrong.", hint="Send the key this server was started with."
        )

    def require_admin(self, rank: Rank | None) -> None:
        """Errors: Forbidden."""
        if not self._admin_key:
            raise Forbidden(
                "Adapters cannot be changed here.",
                hint="The operator allows it by setting OPENLLM_ADMIN_KEY.",
            )
        if rank is not Rank.ADMIN:
            raise Forbidden(
                "This needs the admin key.", hint="Send it as `Authorization: Bearer KEY`."
            )

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
        most = self._settings.max_requests_per_key
        if most and self._inside[rank] >= most:
            raise RateLimited(
                f"{most} requests with this key are running already.", hint="Wait for one to end."
            )
        self._inside[rank] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._inside[rank] -= 1
            if not self._inside[rank]:
                del self._inside[rank]
            if not self._inside:
                self._idle.set()

    def challenge(self, path: str) -> tuple[bytes, bytes]:
        """The header that tells a client how to authenticate; browsers ask for the chat page's key
        themselves.
        """
        scheme = (
            b'Basic realm="openllm", charset="UTF-8"'
            if path in PAGE_PATHS
            else b'Bearer realm="openllm"'
        )
        return b"www-authenticate", scheme

    def cors(self, scope: Scope, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """The headers that let a page of an allowed origin read the answer."""
        origin = headers.get(b"origin", b"")
        allowed = self._settings.cors_origins
        if not origin or not (origin.decode("latin-1") in allowed or "*" in allowed):
            return []
        shared = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
        if scope["method"] != "OPTIONS":
            return [*shared, (b"access-control-expose-headers", b"x-request-id, retry-after")]
        return [
            *shared,
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]


def _key(key: str | None) -> bytes:
    return key.encode() if key else b""


def _credential(header: bytes, *, basic: bool) -> bytes:
    """The key in an Authorization header; b"" for none. Basic's password counts for the chat page
    only.
    """
    scheme, _, value = header.partition(b" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme == b"bearer":
        return value
    if scheme == b"basic" and basic:
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
