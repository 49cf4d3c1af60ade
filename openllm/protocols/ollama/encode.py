"""Answers to chat and generate: one JSON object per line, the last one with counts and times."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import msgspec

from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.framing import timestamp
from openllm.protocols.ollama.dialect import OLLAMA
from openllm.protocols.openai.logprobs import ChatLogprobs
from openllm.types import (
    AnswerDelta,
    FinishReason,
    GenerationOutput,
    Part,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

_encode = msgspec.json.encode


@attrs.frozen
class Form:
    """Where an answer's text stands: in a message, or beside the other fields."""

    content: str  # the text's key
    message: bool

    def body(self, text: str, thought: str = "", calls: Sequence[Any] = ()) -> dict[str, Any]:
        """What an object has of an answer."""
        found: dict[str, Any] = {"role": "assistant"} if self.message else {}
        found[self.content] = text
        if thought:
            found["thinking"] = thought
        if calls:
            found["tool_calls"] = calls
        return {"message": found} if self.message else found

    def around(self, key: str) -> tuple[bytes, bytes]:
        """What stands around the text of `key` in an object that has nothing else of an answer."""
        empty = b"" if key == self.content else b'"%s":"",' % self.content.encode()
        name = b'"%s":' % key.encode()
        if self.message:
            return b'"message":{"role":"assistant",' + empty + name, b"}"
        return empty + name, b""


CHAT = Form("content", message=True)
GENERATE = Form("response", message=False)


def loaded(form: Form, name: str, created: int) -> dict[str, Any]:
    """The answer to who asks for nothing but that the model is loaded."""
    head = {"model": name, "created_at": timestamp(created)}
    return {**head, **form.body(""), "done": True, "done_reason": "load"}


class OllamaWire:
    """The answer to one request. A stream's lines are cut in advance; a delta fills in its text."""

    def __init__(
        self, form: Form, name: str, exchange: Exchange, target: Target, top: int | None
    ) -> None:
        """`top`: alternatives of each token; None: no logprobs."""
        self._form = form
        self._exchange = exchange
        self._table = None if top is None else ChatLogprobs(target.llm.token_table, top)
        self._head = {"model": name, "created_at": timestamp(exchange.created)}
        self._start = start = _encode(self._head)[:-1] + b","
        before, after = form.around(form.content)
        self._text = start + before
        self._thought = start + form.around("thinking")[0]
        self._after = after + b',"done":false'
        self._calls = _Calls()
        self._reason: FinishReason | None = None

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        if delta.finish_reason is None and self._table is None and not delta.parts:
            if not delta.text:
                return b""
            return self._text + _encode(delta.text) + self._after + b"}\n"
        objects = [self._said(part) for part in delta.parts or (Text(delta.text),)]
        if delta.finish_reason is not None:
            self._reason = delta.finish_reason
            objects.append(self._called())
        objects = [item for item in objects if item]
        if self._table is not None and delta.logprobs:
            objects = objects or [self._text + b'""' + self._after]
            objects[0] += b',"logprobs":' + _encode(self._entries(delta.logprobs))
        return b"".join(item + b"}\n" for item in objects)

    def _said(self, part: Part) -> bytes:
        """The object of a part, less its closing brace; b"" where there is nothing to say yet."""
        if isinstance(part, ToolCall):
            self._calls.add(part)
            return b""
        start = self._thought if isinstance(part, Reasoning) else self._text
        return start + _encode(part.text) + self._after if part.text else b""

    def _called(self) -> bytes:
        """The object of all calls, less its closing brace; b"" for none."""
        calls, rest = self._calls.whole()
        if not calls and not rest:
            return b""
        return self._start + _encode({**self._form.body(rest, calls=calls), "done": False})[1:-1]

    def _entries(self, logprobs: Sequence[TokenLogprob] | None) -> Any:
        return None if self._table is None else self._table.encode(logprobs)["content"]

    def closing(self, usage: Usage) -> bytes:
        last = {**self._head, **self._form.body(""), **self._end(self._reason, usage)}
        return OLLAMA.frame(last)

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        [choice] = outputs[0].outputs
        calls = _Calls()
        for part in choice.parts:
            if isinstance(part, ToolCall):
                calls.add(part)
        found, rest = calls.whole()
        body = self._form.body(choice.text + rest, thought_of(choice.parts), found)
        answer = {**self._head, **body, **self._end(choice.finish_reason, outputs[0].usage)}
        if self._table is not None:
            answer["logprobs"] = self._entries(choice.logprobs)
        return _encode(answer)

    def _end(self, reason: FinishReason | None, usage: Usage) -> dict[str, Any]:
        """How the answer ended, and what it took: tokens, and times in nanoseconds."""
        now, started = time.perf_counter(), self._exchange.started
        meter = self._exchange.meter
        first = (meter and meter.first_token) or now
        return {
            "done": True,
            "done_reason": reason,
            "total_duration": _nanoseconds(now - started),
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(first - started),
            "eval_count": usage.completion_tokens,
            "eval_duration": _nanoseconds(now - first),
        }


class _Calls:
    """The calls of an answer, whose arguments come in pieces; clients of Ollama get them whole."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[ToolCall, list[str]]] = {}

    def add(self, piece: ToolCall) -> None:
        self._pieces.setdefault(piece.index, (piece, []))[1].append(piece.arguments)

    def whole(self) -> tuple[list[dict[str, Any]], str]:
        """The calls; and the arguments of one that was cut short, as the text that they are."""
        calls, rest = [], ""
        for first, pieces in self._pieces.values():
            text = "".join(pieces)
            arguments = _object(text)
            if arguments is None:
                rest += text
            else:
                call = {"index": first.index, "name": first.name, "arguments": arguments}
                calls.append({"id": first.id, "function": call})
        return calls, rest


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


def thought_of(parts: Iterable[Part]) -> str:
    """The thought before an answer."""
    return "".join(part.text for part in parts if isinstance(part, Reasoning))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
