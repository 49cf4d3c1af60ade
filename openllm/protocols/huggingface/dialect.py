"""The dialect of Hugging Face's servers for text and for vectors (TGI and TEI): an error has a text
and a type, and what cannot be is a 422.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openllm.errors import EngineDead, EngineError, InvalidRequest, OpenLLMError, Overloaded
from openllm.http.dialect import Dialect, Failure

# What clients raise an exception of their own for.
_TYPES: Mapping[str, str] = {
    "invalid_request_error": "validation",
    "server_error": "generation",
    "overloaded_error": "overloaded",
}


class HuggingFace(Dialect):
    """JSON, and server-sent events whose last one has the whole text."""

    fields: Mapping[str, str] = {
        "adapter": "parameters.adapter_id",
        "frequency_penalty": "parameters.frequency_penalty",
        "logprobs": "parameters.top_n_tokens",
        "max_tokens": "parameters.max_new_tokens",
        "prompt": "inputs",
        "prompt_logprobs": "parameters.decoder_input_details",
        "repetition_penalty": "parameters.repetition_penalty",
        "seed": "parameters.seed",
        "stop": "parameters.stop",
        "structure": "parameters.grammar",
        "temperature": "parameters.temperature",
        "texts": "inputs",
        "top_k": "parameters.top_k",
        "top_p": "parameters.top_p",
    }
    calls: Mapping[str, str] = {
        "LLM.adapters": "GET /v1/models",
        "LLM.embed": "/embed",
        "LLM.score": "/v1/rerank",
        "LLM.classify": "/v1/classify",
        "LLM.generate": "/generate",
        "models": "GET /v1/models",
    }

    def status(self, error: OpenLLMError) -> int:
        if isinstance(error, InvalidRequest):
            return 422
        if isinstance(error, Overloaded):
            return 429
        if isinstance(error, EngineError) and not isinstance(error, EngineDead):
            return 424
        return error.status

    def error(self, failure: Failure) -> Any:
        kind = _TYPES.get(failure.kind, failure.kind)
        return {"error": failure.message, "error_type": kind}


HUGGING_FACE = HuggingFace()
