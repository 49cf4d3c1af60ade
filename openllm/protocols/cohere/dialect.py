"""Cohere's dialect: named events up to `[DONE]`, and an error as one message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openllm.http.dialect import Dialect, Failure

# How each of the vendor's clients begins its own name in a header: Python, TypeScript, Java, Go.
_CLIENTS = (b"cohere", b"github.com/cohere-ai")
_NAMES = (b"user-agent", b"x-fern-sdk-name")


class Cohere(Dialect):
    """As version 2 of its API has it (https://docs.cohere.com/reference/chat and /chat-stream)."""

    end = b"data: [DONE]\n\n"
    prefixes = ("/v2/",)
    key_headers = (b"authorization", b"x-client-name")
    fields: Mapping[str, str] = {
        "adapter": "model",
        "dimensions": "output_dimension",
        "prompt": "messages",
        "stop": "stop_sequences",
        "strict": "strict_tools",
        "structure": "response_format",
        "template_kwargs": "chat_template_kwargs",
        "thinking_budget": "thinking.token_budget",
        "tool_use": "tool_choice",
        "top_k": "k",
        "top_p": "p",
    }
    calls: Mapping[str, str] = {
        "LLM.adapters": "GET /v1/models",
        "LLM.embed": "/v2/embed",
        "LLM.generate": "/v2/chat",
        "LLM.score": "/v2/rerank",
        "LLM.classify": "/v1/classify",
        "models": "GET /v1/models",
    }

    def speaks(self, headers: Mapping[bytes, bytes]) -> bool:
        """cohere/7.3.1, or a client that says who it is in the vendor's own header for that."""
        said = (headers.get(name, b"") for name in _NAMES)
        return b"x-client-name" in headers or any(map(_is_client, said))

    def error(self, failure: Failure) -> Any:
        return {"message": failure.message}

    def frame(self, value: Any) -> bytes:
        """An event, named as its type."""
        name: str = value["type"]
        return b"event: " + name.encode() + b"\n" + super().frame(value)

    def last_words(self, failure: Failure) -> bytes:
        """A stream that fails ends as one that goes well, with an error for a reason."""
        delta = {"finish_reason": "ERROR", "error": failure.message}
        return self.frame({"type": "message-end", "delta": delta}) + self.end


def _is_client(name: bytes) -> bool:
    return name.startswith(_CLIENTS)


COHERE = Cohere()
