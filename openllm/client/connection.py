"""One server's address, keys and patience: requests sent to it, sent again where that helps, and
their answers as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx

from openllm.client import failures
from openllm.client.channel import Channel
from openllm.client.retries import LASTING, PASSING, Retries, seconds_of
from openllm.client.sse import EventReader
from openllm.errors import ConfigurationError, OpenLLMError

CONNECT_SECONDS = 10.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
DEFAULT_ENDPOINT = "http://127.0.0.1:3000"
END = "[DONE]"


def read_endpoint(text: str) -> str:
    """The address that requests' paths are appended to. Errors: ConfigurationError."""
    address = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        valid = valid and ("://" in text or parts.port is not None)
        valid = valid and not (parts.query or parts.fragment) and " " not in address
    except ValueError:  # a port that is no number, brackets that do not close
        valid = False
    if not valid:
        raise ConfigurationError(
            f"{text!r} is no endpoint.", hint="Write http://HOST:PORT.", param="endpoint"
        )
    return address.rstrip("/").removesuffix("/v1").rstrip("/")


@attrs.frozen
class Access:
    """Where a server is and how it is spoken to.

    `endpoint` may lack its scheme (http then) where it has a port, and end with /v1. `timeout`
    bounds a call in seconds, its retries not counted: it is looked at whenever something comes, and
    when nothing has come for that long; None: an answer may take as long as it takes.
    """

    endpoint: str = attrs.field(default=DEFAULT_ENDPOINT, converter=read_endpoint)
    key: str | None = attrs.field(default=None, repr=False)
    admin_key: str | None = attrs.field(default=None, repr=False)
    timeout: float | None = None
    retries: Retries = attrs.field(factory=Retries)

    @property
    def local(self) -> bool:
        """Whether it is this machine, which no proxy can reach."""
        return urlsplit(self.endpoint).hostname in LOOPBACK

    @property
    def httpx_timeout(self) -> httpx.Timeout:
        connect = min(CONNECT_SECONDS, self.timeout or CONNECT_SECONDS)
        return httpx.Timeout(self.timeout, connect=connect)


def trace_headers() -> dict[str, str]:
    """What continues the caller's trace (`traceparent` and others), where it has one: then
    OpenTelemetry has been imported.
    """
    found: dict[str, str] = {}
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry import propagate

        propagate.inject(found)
    return found


class ServerConnection:
    """Sends requests to one server over a channel."""

    def __init__(self, access: Access, channel: Channel) -> None:
        self.access = access
        self.channel = channel

    async def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, admin: bool = False
    ) -> Any:
        """The JSON answer. Errors: Unreachable, BadAnswer, and whatever the server says."""
        async with self._answer(method, path, body, admin) as (response, deadline):
            return failures.parsed(await self._text(response, deadline))

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The JSON events of a streamed answer, up to its end mark. Errors: as `call`, also in the
        midst of the stream; Unreachable where it ends without the mark.
        """
        async with self._answer("POST", path, body, False) as (response, deadline):
            reader = EventReader()
            whole = ""
            async for piece in self.channel.pieces(response):
                self._in_time(deadline)
                for text in reader.feed(piece):
                    if text == END:
                        return
                    event = failures.parsed(text)
                    if failures.said_error(event):
                        raise failures.broken_off(event)
                    whole = text
                    yield event
            if not whole and "event-stream" not in response.headers.get("content-type", ""):
                failures.parsed("")
            raise failures.cut(self.access.endpoint)

    async def status(self, path: str) -> tuple[int, Any]:
        """The status and the JSON (None where it is none) of a GET that may fail; sent once."""
        async with self._connected():
            response = await self.channel.send(self._request("GET", path, None, False))
            try:
                text = await self._text(response, self._deadline())
            finally:
                await self.channel.leave(response)
        try:
            return response.status_code, json.loads(text)
        except ValueError:
            return response.status_code, None

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, admin: bool
    ) -> AsyncIterator[tuple[httpx.Response, float | None]]:
        """An answer that is no error, and when it has to be over."""
        done = 0
        async with self._connected():
            while True:
                deadline = self._deadline()
                response = await self.channel.send(self._request(method, path, body, admin))
                try:
                    if not response.is_error:
                        yield response, deadline
                        return
                    text = await self._text(response, deadline)
                finally:
                    await self.channel.leave(response)
                pause = self._pause(response, text, done)
                if pause is None:
                    raise self._refusal(response, text, admin)
                await self.channel.pause(pause)
                done += 1

    def _pause(self, response: httpx.Response, text: str, done: int) -> float | None:
        """Seconds until the request is sent again; None: it is not."""
        if response.status_code not in PASSING or failures.code_of(text) in LASTING:
            return None
        return self.access.retries.pause(done, response.headers.get("retry-after"))

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, admin: bool
    ) -> httpx.Request:
        key = self.access.admin_key if admin else self.access.key
        headers = trace_headers()
        if key:
            headers["authorization"] = f"Bearer {key}"
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        return self.channel.request(method, self.access.endpoint + path, content, headers)

    def _refusal(self, response: httpx.Response, text: str, admin: bool) -> OpenLLMError:
        wait = seconds_of(response.headers.get("retry-after"))
        error = failures.refused(response.status_code, response.reason_phrase, text, wait)
        return failures.for_admin(error, self.access.admin_key) if admin else error

    async def _text(self, response: httpx.Response, deadline: float | None) -> str:
        parts = []
        async for piece in self.channel.pieces(response):
            self._in_time(deadline)
            parts.append(piece)
        return b"".join(parts).decode("utf-8", "replace")

    def _deadline(self) -> float | None:
        return None if self.access.timeout is None else time.monotonic() + self.access.timeout

    def _in_time(self, deadline: float | None) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise failures.late(self.access.endpoint, self.access.timeout or 0)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        """Turns httpx's errors into ours."""
        endpoint = self.access.endpoint
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise failures.nobody(endpoint) from None
        except httpx.TimeoutException:
            raise failures.late(endpoint, self.access.timeout or 0) from None
        except httpx.RemoteProtocolError:
            raise failures.cut(endpoint) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise failures.lost(endpoint, error) from None
