"""Answers in the shape of `GenerationOutput`; each event of a stream has only what is new, and the
last one before the end mark has no outputs and the usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from openllm.http.catalog import Target
from openllm.http.framing import finite
from openllm.protocols.native.dialect import NATIVE
from openllm.types import AnswerDelta, CompletionOutput, GenerationOutput, TokenLogprob, Usage


class NativeWire:
    """The answer to one native request."""

    def __init__(self, request_id: str, target: Target) -> None:
        self._request_id = request_id
        self._model = target.name

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        output = {
            "index": delta.index,
            "text": delta.text,
            "token_ids": delta.token_ids,
            **_rest(delta),
        }
        event: dict[str, Any] = {"request_id": self._request_id, "outputs": [output]}
        if delta.prompt_logprobs is not None:
            event["prompt_logprobs"] = _entries(delta.prompt_logprobs)
        return NATIVE.frame(event)

    def closing(self, usage: Usage) -> bytes:
        last = {"request_id": self._request_id, "outputs": [], "usage": _usage(usage)}
        return NATIVE.frame(last) + NATIVE.end

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        output = outputs[0]
        value = {
            "request_id": self._request_id,
            "model": self._model,
            "prompt_token_ids": output.prompt_token_ids,
            "prompt_logprobs": _entries(output.prompt_logprobs),
            "outputs": [
                {"index": item.index, "text": item.text, "token_ids": item.token_ids, **_rest(item)}
                for item in output.outputs
            ],
            "usage": _usage(output.usage),
        }
        return msgspec.json.encode(value)


def _usage(usage: Usage) -> dict[str, int]:
    counts = attrs.asdict(usage)
    del counts["reasoning_tokens"]  # these answers are texts, and not read for thoughts
    return {**counts, "total_tokens": usage.total_tokens}


def _rest(item: AnswerDelta | CompletionOutput) -> dict[str, Any]:
    return {
        "finish_reason": item.finish_reason,
        "stop_reason": item.stop_reason,
        "logprobs": _entries(item.logprobs),
    }


def _entries(logprobs: Sequence[TokenLogprob | None] | None) -> list[dict[str, Any] | None] | None:
    if logprobs is None:
        return None
    return [None if item is None else _entry(item) for item in logprobs]


def _entry(item: TokenLogprob) -> dict[str, Any]:
    top = [{"token_id": token, "logprob": finite(logprob)} for token, logprob in item.top]
    return {
        "token_id": item.token_id,
        "logprob": finite(item.logprob),
        "rank": item.rank,
        "top": top,
    }
