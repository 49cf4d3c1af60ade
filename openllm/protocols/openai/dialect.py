"""OpenAI's dialect: how its clients are answered, and what they call the fields of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from openllm.http.dialect import Dialect, Failure


class OpenAI(Dialect):
    """JSON, server-sent events up to `[DONE]`, errors with message, type, param and code."""

    end = b"data: [DONE]\n\n"
    key_headers: tuple[bytes, ...] = (b"authorization", b"api-key")
    prefixes: tuple[str, ...] = ("/",)  # who asks for what is not here most likely speaks this
    fields: Mapping[str, str] = {
        "adapter": "model",
        "include_stop": "include_stop_str_in_output",
        "strict": "tools[].function.strict",
        "structure": "response_format",
        "tool_use": "tool_choice",
        "template_kwargs": "chat_template_kwargs",
    }
    calls: Mapping[str, str] = {
        "LLM.adapters": "GET /v1/models",
        "LLM.embed": "/v1/embeddings",
        "LLM.score": "/v1/rerank",
        "LLM.classify": "/v1/classify",
        "LLM.generate": "/v1/completions",
        "models": "GET /v1/models",
    }

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        return super().key(headers) or headers.get(b"api-key", b"").strip()

    def spellings(self, path: str) -> Iterable[str]:
        """Without the version, with it twice, or below Azure's /openai."""
        bare = path.removeprefix("/openai").removeprefix("/v1").removeprefix("/v1")
        if bare.startswith("/"):
            yield "/v1" + bare

    def error(self, failure: Failure) -> Any:
        return {
            "error": {
                "message": failure.message,
                "type": failure.kind,
                "param": failure.param,
                "code": failure.code,
            }
        }


OPENAI = OpenAI()
