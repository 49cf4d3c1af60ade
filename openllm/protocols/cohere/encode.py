"""Answers in Cohere's shape: a message of parts, a plan and calls, and the events by which one is
streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from openllm.answer.tokens import TokenTable
from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.framing import finite
from openllm.protocols.cohere.dialect import COHERE
from openllm.types import (
    AnswerDelta,
    CompletionOutput,
    GenerationOutput,
    Part,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)

_encode = msgspec.json.encode
_frame = COHERE.frame
_REASONS = {"stop": "COMPLETE", "length": "MAX_TOKENS"}
_PLAN = b'event: tool-plan-delta\ndata: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":'
_AFTER_PLAN = b"}}}\n\n"


class CohereWire:
    """The answer to one request. A block's deltas are cut in advance; each fills in its text."""

    def __init__(self, exchange: Exchange, target: Target, *, plans: bool, logprobs: bool) -> None:
        """`plans`: what the model thinks is shown as its plan for the tools."""
        self._id = exchange.request_id
        self._plans = plans
        self._table = target.llm.token_table if logprobs else None
        self._index = -1  # of the part of the content that is open, or was the last
        self._call = -1
        self._open: type[Part] | None = None
        self._before = self._after = b""  # around the text of what is open
        self._blank = ""  # what came of a text that may turn out to be none
        self._tokens: list[TokenLogprob] = []  # that no event has shown yet
        self._reason = ""

    def opening(self) -> bytes:
        delta = {"message": {"role": "assistant"}}
        return _frame({"type": "message-start", "id": self._id, "delta": delta})

    def delta(self, delta: AnswerDelta) -> bytes:
        plain = self._table is None and delta.finish_reason is None
        if plain and self._open is Text and _is_text(delta):
            return self._text(delta.text)
        if self._table is not None and delta.logprobs:
            self._tokens += delta.logprobs
        frames = b"".join(map(self._piece, delta.parts or (Text(delta.text),)))
        if delta.finish_reason is not None:
            self._reason = reason_of(delta, called=self._call >= 0)
            blank = self._blank
            if blank and self._index < 0 and self._call < 0:  # it is all that there is
                frames += self._begin_part("text") + self._text(blank)
            frames += self._close()
        return frames

    def _piece(self, part: Part) -> bytes:
        """The events of one part of the answer: first those that end another and begin it."""
        if isinstance(part, ToolCall):
            frames = b"" if part.id is None else self._begin_call(part)
            return frames + self._text(part.arguments)
        if isinstance(part, Reasoning):
            if self._plans:
                frames = self._close()
                return frames + _PLAN + _encode(part.text) + _AFTER_PLAN if part.text else frames
            frames = b"" if self._open is Reasoning else self._begin_part("thinking")
            return frames + self._text(part.text)
        if self._open is Text:
            return self._text(part.text)
        text = self._blank + part.text
        if not text.strip():  # between a thought and a call this is no text of its own
            self._blank = text
            return b""
        return self._begin_part("text") + self._text(text)

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        after = self._after
        if self._tokens and self._open is Text:
            after = after[:-3] + b',"logprobs":' + _encode(self._shown()) + after[-3:]
        return self._before + _encode(text) + after

    def _shown(self) -> dict[str, Any]:
        """The tokens since the last text, as one entry."""
        tokens, self._tokens = self._tokens, []
        assert self._table is not None  # noqa: S101  else none are kept
        return logprob_item(self._table, tokens)

    def _begin_part(self, kind: str) -> bytes:
        """End what is open and begin another part of the content: "text" or "thinking"."""
        frames = self._close()
        self._index += 1
        self._open, self._blank = Text if kind == "text" else Reasoning, ""
        self._before = (
            b'event: content-delta\ndata: {"type":"content-delta","index":%d,"delta":{"message":'
            b'{"content":{"%s":' % (self._index, kind.encode())
        )
        self._after = b"}}}}\n\n"
        content = {"type": kind, kind: ""}
        message = {"message": {"content": content}}
        event = {"type": "content-start", "index": self._index, "delta": message}
        return frames + _frame(event)

    def _begin_call(self, call: ToolCall) -> bytes:
        frames = self._close()
        self._call += 1
        self._open, self._blank = ToolCall, ""
        self._before = (
            b'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":%d,"delta":'
            b'{"message":{"tool_calls":{"function":{"arguments":' % self._call
        )
        self._after = b"}}}}}\n\n"
        message = {"message": {"tool_calls": call_object(call, "")}}
        event = {"type": "tool-call-start", "index": self._call, "delta": message}
        return frames + _frame(event)

    def _close(self) -> bytes:
        """End what is open, if something is."""
        kind, self._open = self._open, None
        if kind is None:
            return b""
        if kind is ToolCall:
            return _frame({"type": "tool-call-end", "index": self._call})
        frames = b""
        if kind is Text and self._tokens:  # of tokens that are no text, such as the last
            after = self._after[:-3] + b',"logprobs":' + _encode(self._shown()) + b"}\n\n"
            frames = self._before + b'""' + after
        return frames + _frame({"type": "content-end", "index": self._index})

    def closing(self, usage: Usage) -> bytes:
        delta = {"finish_reason": self._reason, "usage": usage_object(usage)}
        return _frame({"type": "message-end", "id": self._id, "delta": delta}) + COHERE.end

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        [choice] = outputs[0].outputs
        message = self._message(choice)
        answer: dict[str, Any] = {
            "id": self._id,
            "finish_reason": reason_of(choice, called="tool_calls" in message),
            "message": message,
            "usage": usage_object(outputs[0].usage),
        }
        if (table := self._table) is not None:
            tokens = choice.logprobs or ()
            answer["logprobs"] = [logprob_item(table, [token]) for token in tokens]
        return _encode(answer)

    def _message(self, choice: CompletionOutput) -> dict[str, Any]:
        content: list[dict[str, str]] = []
        calls: list[dict[str, Any]] = []
        plan = blank = ""
        for part in choice.parts or (Text(choice.text),):
            if isinstance(part, ToolCall):
                calls.append(call_object(part, part.arguments))
            elif isinstance(part, Reasoning):
                if self._plans:
                    plan += part.text
                else:
                    content.append({"type": "thinking", "thinking": part.text})
            elif part.text.strip():
                content.append({"type": "text", "text": part.text})
            else:
                blank += part.text
        if not content and not calls:
            content.append({"type": "text", "text": blank})
        found = {"tool_plan": plan, "tool_calls": calls, "content": content}
        return {"role": "assistant"} | {name: value for name, value in found.items() if value}


def _is_text(delta: AnswerDelta) -> bool:
    """Whether text is all that it has: then the text of its one part is its own."""
    return not delta.parts or (len(delta.parts) == 1 and bool(delta.text))


def call_object(call: ToolCall, arguments: str) -> dict[str, Any]:
    """A call, with its arguments as the JSON text that they are."""
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def reason_of(choice: AnswerDelta | CompletionOutput, *, called: bool) -> str:
    """Why the answer ended, in the vendor's words."""
    if isinstance(choice.stop_reason, str):
        return "STOP_SEQUENCE"
    reason = _REASONS.get(choice.finish_reason or "", "COMPLETE")
    return "TOOL_CALL" if called and reason == "COMPLETE" else reason


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage`: nothing is billed here, so what would be is all that there is."""
    tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
    return {"billed_units": tokens, "tokens": tokens, "cached_tokens": usage.cached_tokens}


def logprob_item(table: TokenTable, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """The entry of several tokens that make one piece of text."""
    return {
        "text": b"".join(table.data(token.token_id) for token in tokens).decode(errors="replace"),
        "token_ids": [token.token_id for token in tokens],
        "logprobs": [finite(token.logprob) for token in tokens],
    }
