"""Ollama's dialect: JSON lines, an error as one text, and a request's options in an object of their
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openllm.http.dialect import Dialect, Failure
from openllm.http.framing import NDJSON


class Ollama(Dialect):
    """As the API of Ollama (docs/api.md of its repository) has it."""

    framing = NDJSON
    prefixes = ("/api/",)
    fields: Mapping[str, str] = {
        "adapter": "model",
        "frequency_penalty": "options.frequency_penalty",
        "logprobs": "top_logprobs",
        "max_tokens": "options.num_predict",
        "min_p": "options.min_p",
        "presence_penalty": "options.presence_penalty",
        "repetition_penalty": "options.repeat_penalty",
        "seed": "options.seed",
        "stop": "options.stop",
        "structure": "format",
        "temperature": "options.temperature",
        "template_kwargs": "think",
        "texts": "input",
        "tool_use": "tools",
        "top_k": "options.top_k",
        "top_p": "options.top_p",
    }
    calls: Mapping[str, str] = {
        "LLM.adapters": "GET /api/tags",
        "LLM.embed": "/api/embed",
        "LLM.score": "/v1/rerank",
        "LLM.classify": "/v1/classify",
        "LLM.generate": "/api/generate",
        "models": "GET /api/tags",
    }

    def speaks(self, headers: Mapping[bytes, bytes]) -> bool:
        """ollama/0.13.0, ollama-python/0.6.3, ollama-js/0.6.0"""
        return headers.get(b"user-agent", b"").startswith(b"ollama")

    def error(self, failure: Failure) -> Any:
        return {"error": failure.message}


OLLAMA = Ollama()
CHAT = OLLAMA.renamed(prompt="messages")
PROMPT = OLLAMA.renamed(texts="prompt")
