"""A request's body as it comes: of what size, how much it holds, and where it is read: a large one
off the event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.types import Receive

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, PayloadTooLarge
from openllm.http.body.amount import LARGE_BODY, Amount
from openllm.http.compression import unpacked
from openllm.http.limits import BodyTimes

P = ParamSpec("P")
T = TypeVar("T")
_NAME = re.compile(rb'"([A-Za-z0-9_.-]+)"\Z')
_LONGEST_NAME = 64
_DROPPED_BYTES = 64 * 1024**2  # read and dropped after a 413, so that the client gets to see it
_DROPPED_SECONDS = 2.0
# Large bodies are read one after another: each thread that works holds up the event loop by the
# interpreter's switch interval.
_reader = ThreadPoolExecutor(1, "large-bodies")


class ClientGone(Exception):
    """The client has left: nobody reads the answer."""


class Incoming:
    """The body of one request. Errors of all that read it: PayloadTooLarge (before it is there,
    where its length is announced), RequestTimeout, ClientGone.
    """

    def __init__(
        self,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        settings: Settings,
        times: BodyTimes,
    ) -> None:
        self._receive = receive
        self._headers = headers
        self._settings = settings
        self._times = times
        self.large = False  # so that it is read off the event loop
        self.begun = False  # whether some of it has been read
        self.whole = False  # whether all of it has

    async def parts(self, limit: int) -> AsyncGenerator[bytes]:
        """The body as it comes, at most `limit` bytes of it."""
        announced = self._headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(limit)
        size, more = 0, True
        begun = asyncio.get_running_loop().time()
        while more:
            message = await self._times.next(self._receive, begun, size)
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            more = message.get("more_body", False)
            self.begun, self.whole = True, not more
            yield part

    async def json(self) -> bytes | bytearray:
        """The whole body, unpacked. Errors: InvalidRequest where it holds more than a JSON text
        may, mostly before all of it is there.
        """
        limit = self._settings.max_body_bytes
        encoding = self._headers.get(b"content-encoding", b"").strip().lower()
        amount = Amount()
        body: bytes | bytearray = bytearray()
        async for part in self.parts(limit):
            body += part
            if len(body) > LARGE_BODY and not encoding:
                new = part if len(body) > len(part) + LARGE_BODY else body
                self._check(amount.add(new), body)
        if encoding:
            body = await asyncio.to_thread(unpacked, bytes(body), encoding, limit)
        self.large = len(body) > LARGE_BODY
        if encoding and self.large:
            self._check(await self.apart(amount.add, body), body)
        return body

    def _check(self, values: int, body: bytes | bytearray) -> None:
        most = self._settings.max_json_values
        if values <= most:
            return
        raise InvalidRequest(
            f"The body holds more than {most} values (an array or object is 8, a key 16, an escape"
            " in a text 1).",
            hint="Send several requests, and texts as UTF-8 without escapes.",
            param=last_key(body),
        )

    async def apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives, which reads the body or makes something of all of it: called off the
        event loop where the body is large.
        """
        if not self.large:
            return work(*args, **kwargs)
        called = partial(contextvars.copy_context().run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(_reader, called)

    async def drop(self) -> None:
        """Read and forget what is left of the body, within limits: a client still sending would
        miss the answer.
        """
        read = 0
        try:
            async with asyncio.timeout(_DROPPED_SECONDS):
                while read < _DROPPED_BYTES:
                    message = await self._receive()
                    read += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
        except TimeoutError:
            return


def last_key(text: bytes | bytearray) -> str | None:
    """The last key in the beginning of a JSON text, if it is a plain name."""
    before = text[: max(text.rfind(b":"), 0)].rstrip()
    found = _NAME.search(before[-_LONGEST_NAME - 2 :])
    return found[1].decode() if found else None


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit} bytes.")
