"""What a benchmark asks: the levels of load, and the requests of each as bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from openllm.errors import ConfigurationError

PATHS = {False: "/v1/completions", True: "/v1/chat/completions"}
Prompt = str | list[int] | list[dict[str, Any]]


@attrs.frozen
class Level:
    """One level of load, of so many `requests`.

    Closed loop (`rate` is None): `streams` clients, each of which asks again as soon as it has its
    answer. Open loop: requests come at `rate` per second whatever becomes of those before, of which
    at most `streams` are out at once (None: no limit). The times between them are drawn from a
    gamma distribution of the shape `burstiness`: 1 is a Poisson process, less comes in bursts, more
    is more regular.
    """

    requests: int
    streams: int | None = None
    rate: float | None = None
    burstiness: float = 1.0

    @property
    def name(self) -> str:
        if self.rate is None:
            return f"{self.streams}"
        return f"{self.rate:g}/s" + (f" of {self.streams}" if self.streams is not None else "")

    def arrivals(self, seed: int) -> list[float] | None:
        """Seconds after the start at which the requests of an open loop come; None: a closed one.

        The times are stretched so that the last one comes when it would at an even rate, as vLLM's
        benchmark does: a short run would else be off by what chance made of it.
        """
        if self.rate is None:
            return None
        if self.rate == float("inf"):
            return [0.0] * self.requests
        chance = random.Random(seed)
        found, at = [0.0], 0.0
        for _ in range(self.requests - 1):
            at += chance.gammavariate(self.burstiness, 1.0 / (self.rate * self.burstiness))
            found.append(at)
        even = (self.requests - 1) / self.rate
        return [time * even / at for time in found] if at else found


@attrs.frozen
class LoadRequest:
    """A prompt (a text, token ids, or messages of a chat) and the longest answer in tokens."""

    prompt: Prompt
    max_tokens: int


@attrs.frozen
class ServerUnderLoad:
    """The server that is asked, and what every request says."""

    endpoint: str  # without /v1
    key: str | None
    model: str
    chat: bool
    fields: Mapping[str, Any]  # temperature and the like

    @property
    def address(self) -> tuple[str, int, bool]:
        """Host, port, and whether TLS is spoken."""
        parts = urlsplit(self.endpoint)
        secure = parts.scheme == "https"
        return parts.hostname or "", parts.port or (443 if secure else 80), secure

    def request(self, asked: LoadRequest) -> bytes:
        """An HTTP request for a streamed answer, head and all."""
        return self._head + self._body(asked)

    def _body(self, asked: LoadRequest) -> bytes:
        body = {
            "model": self.model,
            **self._prompt(asked.prompt),
            "max_tokens": asked.max_tokens,
            **self.fields,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        text = json.dumps(body, ensure_ascii=False).encode()
        return f"Content-Length: {len(text)}\r\n\r\n".encode() + text

    def _prompt(self, prompt: Prompt) -> dict[str, Any]:
        if not self.chat:
            return {"prompt": prompt}
        return {
            "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        }

    @property
    def _head(self) -> bytes:
        parts = urlsplit(self.endpoint)
        lines = [
            f"POST {parts.path}{PATHS[self.chat]} HTTP/1.1",
            f"Host: {parts.netloc.rpartition('@')[2]}",
            "Content-Type: application/json",
            "Accept: text/event-stream",
        ]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        return ("\r\n".join(lines) + "\r\n").encode()


def read_counts(text: str) -> list[int]:
    """Numbers of streams: `1,4,16`, or `1-16` for each doubling from one to the other. Errors:
    ConfigurationError.
    """
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        try:
            least, most = int(low), int(high if dash else low)
        except ValueError:
            least, most = 0, 0
        if not 0 < least <= most:
            raise ConfigurationError(
                f"{text!r} is no list of streams.", hint="Write 8, or 1,4,16, or 1-16."
            )
        while least < most:
            found.append(least)
            least *= 2
        found.append(most)
    return list(dict.fromkeys(found))


def read_rates(text: str) -> list[float]:
    """Requests per second: `0.5,2,8`; `inf` is all at once. Errors: ConfigurationError."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(rate > 0 for rate in found):
        raise ConfigurationError(
            f"{text!r} is no list of rates.", hint="Write 2, or 0.5,2,8, or inf."
        )
    return list(dict.fromkeys(found))


def shares(items: Sequence[Any], count: int) -> list[list[Any]]:
    """`items` dealt out to `count` takers in turn."""
    return [list(items[at::count]) for at in range(count)]
