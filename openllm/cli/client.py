"""Calls to a running server: one JSON answer, or the text of a streamed one; each failure is one
line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx

from openllm.errors import ConfigurationError, OpenLLMError, ServeError

CONNECT_SECONDS = 10.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@attrs.frozen
class Client:
    """A server's address and the key to send it; nothing is sent before a method is called."""

    endpoint: str
    key: str | None = attrs.field(default=None, repr=False)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON answer. Errors: ServeError when nobody answers, OpenLLMError with what the
        server says.
        """
        with self._client() as client, _explained(self.endpoint):
            answer = client.request(method, path, json=body)
            if answer.is_error:
                raise OpenLLMError(_complaint(answer))
            return _parsed(answer.text)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The JSON events of a streamed answer. Errors: as `call`, also in the midst of the
        stream.
        """
        with (
            self._client() as client,
            _explained(self.endpoint),
            client.stream("POST", path, json=body) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise OpenLLMError(_complaint(answer))
            for line in answer.iter_lines():
                if line.startswith("data:") and (text := line[5:].strip()) != "[DONE]":
                    event = _parsed(text)
                    if isinstance(event, dict) and "error" in event:
                        raise OpenLLMError(_message(event, "The server broke off its answer."))
                    yield event

    def _client(self) -> httpx.Client:
        parts = urlsplit(self.endpoint)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError(
                f"{self.endpoint!r} is no endpoint.",
                hint="Write http://HOST:PORT.",
                param="endpoint",
            )
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        # An answer may take as long as it takes.
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        local = parts.hostname in LOOPBACK  # a proxy cannot reach this machine
        return httpx.Client(
            base_url=self.endpoint, headers=headers, timeout=timeout, trust_env=not local
        )


@contextmanager
def _explained(endpoint: str) -> Iterator[None]:
    """Turns httpx's errors into ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise ServeError(
            f"No server answers at {endpoint}.", hint="Start one: openllm start."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServeError(f"The connection to {endpoint} failed: {error}.") from None


def _complaint(answer: httpx.Response) -> str:
    fallback = f"The server answered {answer.status_code} {answer.reason_phrase}."
    try:
        return _message(json.loads(answer.text), fallback)
    except ValueError:
        return fallback


def _message(answer: Any, fallback: str) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else fallback


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise OpenLLMError(
            "The server's answer is not JSON.", hint="Is it an openllm server?"
        ) from None
