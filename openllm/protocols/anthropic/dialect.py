"""Anthropic's dialect: named events, errors by type, and keys in a header of their own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from openllm.errors import OpenLLMError, Overloaded
from openllm.http.dialect import Dialect, Failure
from openllm.http.framing import timestamp
from openllm.http.keys.account import Allowance

OVERLOADED = 529
# The types of errors by status; others are of the request below 500, and of the server from there.
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OVERLOADED: "overloaded_error",
}


class Anthropic(Dialect):
    """As its Messages API has it (https://docs.anthropic.com/en/api/errors and /streaming)."""

    prefixes = ("/v1/messages",)
    fields: Mapping[str, str] = {
        "adapter": "model",
        "prompt": "messages",
        "stop": "stop_sequences",
        "strict": "tools[].strict",
        "structure": "output_config.format",
        "template_kwargs": "chat_template_kwargs",
        "tool_use": "tool_choice",
    }
    calls: Mapping[str, str] = {
        "LLM.adapters": "GET /v1/models",
        "LLM.embed": "/v1/embeddings",
        "LLM.score": "/v1/rerank",
        "LLM.classify": "/v1/classify",
        "LLM.generate": "/v1/completions",
        "models": "GET /v1/models",
    }
    id_headers = (b"request-id", b"x-request-id")
    key_hint = "`x-api-key: KEY`"
    key_headers = (b"x-api-key", b"authorization", b"anthropic-version", b"anthropic-beta")

    def speaks(self, headers: Mapping[bytes, bytes]) -> bool:
        """Every client of its own says which version of the API it wants."""
        return b"anthropic-version" in headers or b"x-api-key" in headers

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        return headers.get(b"x-api-key", b"").strip() or super().key(headers)

    def status(self, error: OpenLLMError) -> int:
        return OVERLOADED if isinstance(error, Overloaded) else error.status

    def allowance_headers(self, what: bytes, rate: Allowance) -> list[tuple[bytes, bytes]]:
        """Under its own names, and with the moment at which all is there again."""
        start = b"anthropic-ratelimit-" + what
        return [
            (start + b"-limit", b"%d" % rate.limit),
            (start + b"-remaining", b"%d" % rate.remaining),
            (start + b"-reset", timestamp(math.ceil(time.time() + rate.reset)).encode()),
        ]

    def error(self, failure: Failure) -> Any:
        usual = "api_error" if failure.status >= 500 else "invalid_request_error"
        kind = _TYPES.get(failure.status, usual)
        return {"type": "error", "error": {"type": kind, "message": failure.message}}

    def frame(self, value: Any) -> bytes:
        """An event, named as its type."""
        name: str = value["type"]
        return b"event: " + name.encode() + b"\n" + super().frame(value)


ANTHROPIC = Anthropic()
