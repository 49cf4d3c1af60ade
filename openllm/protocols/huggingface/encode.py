"""Answers in TGI's shape: the text, and its tokens where they are asked for; a stream has an event
per token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from openllm.answer.tokens import TokenTable
from openllm.http.catalog import Target
from openllm.http.framing import finite
from openllm.protocols.huggingface.dialect import HUGGING_FACE
from openllm.protocols.huggingface.parse import TextRequest
from openllm.types import AnswerDelta, CompletionOutput, GenerationOutput, TokenLogprob, Usage

_encode = msgspec.json.encode
_AFTER = b'},"generated_text":null,"details":null}\n\n'


class TextWire:
    """The answer to one request for text. `listed`: a whole answer is a list of one, as at `/`."""

    def __init__(self, request: TextRequest, target: Target, *, listed: bool) -> None:
        self._request = request
        self._table = target.llm.token_table
        self._listed = listed
        self._text: list[str] = [request.prompt] if request.full else []
        self._count = 0  # tokens so far
        self._last: dict[str, Any] = {"token": {"id": 0, "text": "", "special": True}}
        self._end: AnswerDelta | None = None

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        """An event per token. Where several came together, the text stands in the last one's."""
        self._text.append(delta.text)
        if len(delta.token_ids) == 1 and delta.finish_reason is None and not delta.logprobs:
            self._count += 1
            token = delta.token_ids[0]
            special = b"true" if self._table.special(token) else b"false"
            return (
                b'data: {"index":%d,"token":{"id":%d,"text":' % (self._count, token)
                + _encode(delta.text)
                + b',"logprob":null,"special":'
                + special
                + _AFTER
            )
        events = self._events(delta)
        if delta.finish_reason is not None:
            self._end = delta
            self._last = events.pop() if events else {**self._last, "index": self._count}
            if not delta.token_ids:
                self._last["token"] = {**self._last["token"], "text": delta.text}
        return b"".join(map(HUGGING_FACE.frame, events))

    def _events(self, delta: AnswerDelta) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        for at, token in enumerate(delta.token_ids):
            self._count += 1
            item = delta.logprobs[at] if delta.logprobs else None
            found = _token(self._table, token, None if item is None else item.logprob, "")
            event = {"index": self._count, "token": found}
            if self._request.top and item is not None:
                event["top_tokens"] = _top(self._table, item, self._request.top)
            events.append({**event, "generated_text": None, "details": None})
        if events:
            events[-1]["token"]["text"] = delta.text
        return events

    def closing(self, usage: Usage) -> bytes:
        """The last token's event: it has the whole text, and how it ended."""
        last = {**self._last, "generated_text": "".join(self._text)}
        if self._request.details and self._end is not None:
            last["details"] = {
                "finish_reason": _reason(self._end),
                "generated_tokens": usage.completion_tokens,
                "input_length": usage.prompt_tokens,
                "seed": self._request.overrides.get("seed"),
            }
        return HUGGING_FACE.frame(last)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        [choice] = outputs[0].outputs
        found: dict[str, Any] = {"generated_text": "".join((*self._text, choice.text))}
        if self._request.details:
            found["details"] = self._details(outputs[0], choice)
        return _encode([found] if self._listed else found)

    def _details(self, output: GenerationOutput, choice: CompletionOutput) -> dict[str, Any]:
        table, logprobs = self._table, choice.logprobs or []
        found: dict[str, Any] = {
            "finish_reason": _reason(choice),
            "generated_tokens": output.usage.completion_tokens,
            "seed": self._request.overrides.get("seed"),
            "prefill": [
                {
                    "id": token,
                    "text": table.text(token),
                    "logprob": None if item is None else finite(item.logprob),
                }
                for token, item in zip(
                    output.prompt_token_ids, output.prompt_logprobs or (), strict=False
                )
            ],
            "tokens": [
                _token(table, item.token_id, item.logprob, table.text(item.token_id))
                for item in logprobs
            ],
        }
        if self._request.top:
            found["top_tokens"] = [_top(table, item, self._request.top) for item in logprobs]
        return found


def _reason(end: AnswerDelta | CompletionOutput) -> str:
    if end.finish_reason == "length":
        return "length"
    return "stop_sequence" if isinstance(end.stop_reason, str) else "eos_token"


def _token(table: TokenTable, token: int, logprob: float | None, text: str) -> dict[str, Any]:
    return {
        "id": token,
        "text": text,
        "logprob": None if logprob is None else finite(logprob),
        "special": table.special(token),
    }


def _top(table: TokenTable, item: TokenLogprob, top: int) -> list[dict[str, Any]]:
    return [_token(table, token, logprob, table.text(token)) for token, logprob in item.top[:top]]
