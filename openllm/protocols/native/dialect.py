"""openllm's own dialect: the domain's names, and errors with message, type, param and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openllm.http.dialect import Dialect, Failure


class Native(Dialect):
    """JSON, and server-sent events up to `[DONE]`."""

    end = b"data: [DONE]\n\n"
    fields: Mapping[str, str] = {
        "adapter": "adapter_name",
        "include_stop": "include_stop_str_in_output",
        "strict": "tools[].function.strict",
        "structure": "response_format",
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

    def error(self, failure: Failure) -> Any:
        return {
            "error": {
                "message": failure.message,
                "type": failure.kind,
                "param": failure.param,
                "code": failure.code,
            }
        }


NATIVE = Native()
