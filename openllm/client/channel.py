"""The two ways to send a request: httpx's client of asyncio, and its blocking one behind the same
methods.

`BlockingChannel` never waits in asyncio's sense, so that a coroutine over it runs to its end the
first time it is stepped (`blocking.finish`): each call is written once, for both clients.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Protocol

import httpx


class Channel(Protocol):
    """What a call needs: a request sent, its answer in pieces, a pause."""

    def request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> httpx.Request: ...

    async def send(self, request: httpx.Request) -> httpx.Response: ...

    def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]: ...

    async def leave(self, response: httpx.Response) -> None: ...

    async def pause(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class AsyncChannel:
    """httpx.AsyncClient."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport | None, timeout: httpx.Timeout, trust_env: bool
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=transport, timeout=timeout, trust_env=trust_env, follow_redirects=True
        )

    def request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> httpx.Request:
        return self._client.build_request(method, url, content=body, headers=headers)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True)

    def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        return response.aiter_bytes()

    async def leave(self, response: httpx.Response) -> None:
        await response.aclose()

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._client.aclose()


class BlockingChannel:
    """httpx.Client; its methods are coroutines in form alone."""

    def __init__(
        self, transport: httpx.BaseTransport | None, timeout: httpx.Timeout, trust_env: bool
    ) -> None:
        self._client = httpx.Client(
            transport=transport, timeout=timeout, trust_env=trust_env, follow_redirects=True
        )

    def request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> httpx.Request:
        return self._client.build_request(method, url, content=body, headers=headers)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self._client.send(request, stream=True)

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        for piece in response.iter_bytes():
            yield piece

    async def leave(self, response: httpx.Response) -> None:
        response.close()

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  nothing else runs on this channel

    async def close(self) -> None:
        self._client.close()
