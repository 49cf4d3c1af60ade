"""Requests spread over several servers that serve the same: each to the one with the fewest under
way, and on to another where one cannot take it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs
import httpx

from openllm.client.connection import Access
from openllm.client.retries import PASSING, seconds_of
from openllm.errors import Forbidden, Unauthorized, Unreachable

FIRST_REST, LONGEST_REST = 0.5, 60.0  # seconds that a server is left alone
PATIENCE_SECONDS = 600.0  # in which no server answers anything before that is given up
QUIET_SECONDS = 60.0  # without an answer of a server before it is asked whether it is there
PROBE_SECONDS = 10.0  # for it to say so
# What keeps a connection known on the way while an answer is long in coming, and ends one whose
# other end is gone: after a minute of silence it is asked for every 15 s, four times.
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)  # not on every system
]


@attrs.frozen
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.define(eq=False)
class PooledServer:
    """One of the servers."""

    access: Access
    client: httpx.AsyncClient
    under_way: int = 0
    rest_until: float = 0.0  # as time.monotonic() counts
    failed: int = 0  # times in a row that it could not take a request
    why: str = ""
    heard: float = attrs.field(factory=time.monotonic)  # when it last answered, or was there
    silent: float = 0.0  # when it last was not
    _looking: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    async def ask(self, path: str, body: bytes) -> httpx.Response:
        """Its answer, however long that takes while the server is there. Errors:
        httpx.TransportError.
        """
        answer = asyncio.ensure_future(self.client.post(path, content=body))
        try:
            while not (await asyncio.wait((answer,), timeout=QUIET_SECONDS))[0]:
                there = await self._is_there()
                if not there and not answer.done():
                    raise httpx.ReadTimeout("it does not answer")
            return answer.result()
        finally:
            answer.cancel()

    async def _is_there(self) -> bool:
        """Whether it answers anything; looked at once for all its requests that wait."""
        since = time.monotonic()
        async with self._looking:
            if self.silent > since or self.heard > since - QUIET_SECONDS:
                return self.silent <= since
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self.client.get("/livez")
            except (TimeoutError, httpx.TransportError):
                self.silent = time.monotonic()
                return False
            self.heard = time.monotonic()
            return True

    def pause(self, asked: float | None, why: str) -> None:
        """Leave it alone: for as long as it asks, else longer each time."""
        own = FIRST_REST * 2.0 ** min(self.failed, 16)
        seconds = min(own if asked is None else max(asked, FIRST_REST), LONGEST_REST)
        self.rest_until = time.monotonic() + seconds
        self.failed += 1
        self.why = why


class ServerPool:
    """POST requests to any of the servers at `endpoints`. An `async with` block."""

    def __init__(
        self,
        endpoints: Sequence[str],
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport` replaces the network, for tests. Errors: ConfigurationError for what is no
        endpoint.
        """
        places = [Access(endpoint, key) for endpoint in dict.fromkeys(endpoints)]
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        self._places = [
            PooledServer(
                access,
                httpx.AsyncClient(
                    base_url=access.endpoint,
                    headers=headers,
                    timeout=access.httpx_timeout,
                    transport=transport or _network(access),
                    trust_env=not access.local,
                ),
            )
            for access in places
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for place in self._places:
            await place.client.aclose()

    async def post(self, path: str, body: bytes) -> Reply:
        """The answer of one of the servers. One that a server has begun and that breaks off is
        asked for again. Errors: Unreachable when none has answered for ten minutes; Unauthorized,
        Forbidden.
        """
        while True:
            place = await self._free()
            place.under_way += 1
            try:
                answer = await place.ask(path, body)
            except httpx.TransportError as error:
                place.pause(None, str(error) or type(error).__name__)
                continue
            finally:
                place.under_way -= 1
            if answer.status_code in PASSING:
                asked = seconds_of(answer.headers.get("retry-after"))
                place.pause(asked, f"it answers {answer.status_code}")
                continue
            if answer.status_code in (401, 403):
                kind = Unauthorized if answer.status_code == 401 else Forbidden
                raise kind(
                    f"{place.access.endpoint} does not take the key.", hint="Give another one."
                )
            place.failed, place.heard = 0, time.monotonic()
            return Reply(answer.status_code, answer.headers, answer.content)

    async def _free(self) -> PooledServer:
        """The server with the fewest under way of those that are not left alone, once there is
        one. Errors: Unreachable.
        """
        while True:
            now = time.monotonic()
            free = [place for place in self._places if place.rest_until <= now]
            if free:
                return min(free, key=lambda place: place.under_way)
            if now - max(place.heard for place in self._places) > PATIENCE_SECONDS:
                told = ", ".join(f"{place.access.endpoint} ({place.why})" for place in self._places)
                raise Unreachable(f"No server answers: {told}.", hint="Look at their logs.")
            await asyncio.sleep(min(place.rest_until for place in self._places) - now)


def _network(access: Access) -> httpx.AsyncHTTPTransport:
    """Connections that are kept alive, through the proxy that the environment names."""
    return httpx.AsyncHTTPTransport(
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        proxy=_proxy(access),
        socket_options=KEEPALIVE,
    )


def _proxy(access: Access) -> str | None:
    parts = urlsplit(access.endpoint)
    if access.local or proxy_bypass(parts.hostname or ""):
        return None
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
