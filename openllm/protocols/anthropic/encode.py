"""Answers in Anthropic's shape: a message of blocks, and the events by which one is streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.protocols.anthropic.dialect import ANTHROPIC
from openllm.types import (
    AnswerDelta,
    CompletionOutput,
    GenerationOutput,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
    new_request_id,
)

# Clients send a thought back with it, and some keep none that has none. Nobody looks at it here.
SIGNATURE = "openllm"
_PING = ANTHROPIC.frame({"type": "ping"})
_AFTER = b"}}\n\n"  # the rest of a block's delta
_encode = msgspec.json.encode
_frame = ANTHROPIC.frame


class MessageWire:
    """The answer to one request. A block's deltas are cut in advance; each fills in its text."""

    def __init__(self, exchange: Exchange, target: Target, *, thoughts: bool) -> None:
        """`thoughts`: whether what the model thought is shown; that it thought always is."""
        self._exchange = exchange
        self._thoughts = thoughts
        self._head = {
            "id": f"msg_{new_request_id()}",
            "type": "message",
            "role": "assistant",
            "model": target.name,
        }
        self._index = -1  # of the block that is open, or was the last
        self._open: type[Part] | None = None  # what it holds
        self._before = b""  # the beginning of its deltas
        self._blank = ""  # what came of a text that may turn out to be none
        self._cached = 0
        self._called = self._refused = False
        self._end: dict[str, Any] = {}

    def opening(self) -> bytes:
        meter = self._exchange.meter
        usage = Usage(meter.prompt_tokens if meter else 0, 0, self._cached)
        message: dict[str, Any] = {**self._head, "content": [], **_NO_END}
        message["usage"] = usage_object(usage)
        return _frame({"type": "message_start", "message": message}) + _PING

    def delta(self, delta: AnswerDelta) -> bytes:
        if self._open is Text and delta.finish_reason is None and _is_text(delta):
            return self._before + _encode(delta.text) + _AFTER if delta.text else b""
        self._cached = self._cached or delta.cached_tokens
        frames = b"".join(map(self._piece, delta.parts or (Text(delta.text),)))
        if delta.finish_reason is not None:
            self._end = ending(delta, called=self._called, refused=self._refused)
            frames += self._close()
        return frames

    def _piece(self, part: Part) -> bytes:
        """The events of one part: first those that end another block and begin its own."""
        if isinstance(part, ToolCall):
            frames = b""
            if part.id is not None:
                self._called = True
                frames = self._begin(ToolCall, call_block(part, {}), "input_json_delta")
            return frames + self._text(part.arguments)
        if isinstance(part, Reasoning):
            frames = b""
            if self._open is not Reasoning:
                frames = self._begin(Reasoning, thought_block(""), "thinking_delta")
            return frames + self._text(part.text) if self._thoughts else frames
        self._refused = self._refused or isinstance(part, Refusal)
        if self._open is Text:
            return self._text(part.text)
        text = self._blank + part.text
        if not text.strip():  # between a thought and a call this is no text of its own
            self._blank = text
            return b""
        return self._begin(Text, {"type": "text", "text": ""}, "text_delta") + self._text(text)

    def _text(self, text: str) -> bytes:
        return self._before + _encode(text) + _AFTER if text else b""

    def _begin(self, kind: type[Part], block: dict[str, Any], delta: str) -> bytes:
        """End the block that is open and begin another; `delta` is the type of its deltas."""
        frames = self._close()
        self._index += 1
        self._open, self._blank = kind, ""
        start = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        key = _KEYS[delta]
        self._before = start % self._index + b'"delta":{"type":"%s","%s":' % (delta.encode(), key)
        event = {"type": "content_block_start", "index": self._index, "content_block": block}
        return frames + _frame(event)

    def _close(self) -> bytes:
        """End the block that is open, if one is."""
        if self._open is None:
            return b""
        frames = b""
        if self._open is Reasoning:
            signature = {"type": "signature_delta", "signature": SIGNATURE}
            event = {"type": "content_block_delta", "index": self._index, "delta": signature}
            frames = _frame(event)
        self._open = None
        return frames + _frame({"type": "content_block_stop", "index": self._index})

    def closing(self, usage: Usage) -> bytes:
        last = {"type": "message_delta", "delta": self._end, "usage": usage_object(usage)}
        return _frame(last) + _frame({"type": "message_stop"})

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        [choice] = outputs[0].outputs
        parts = choice.parts or (Text(choice.text),)
        blocks = [self._block(part) for part in parts]
        called = any(isinstance(part, ToolCall) for part in parts)
        refused = any(isinstance(part, Refusal) for part in parts)
        answer = {
            **self._head,
            "content": [block for block in blocks if block is not None],
            **ending(choice, called=called, refused=refused),
            "usage": usage_object(outputs[0].usage),
        }
        return _encode(answer)

    def _block(self, part: Part) -> dict[str, Any] | None:
        """The block of a whole part; None for a text of blanks."""
        if isinstance(part, ToolCall):
            return call_block(part, _object(part.arguments))
        if isinstance(part, Reasoning):
            return thought_block(part.text if self._thoughts else "", SIGNATURE)
        return {"type": "text", "text": part.text} if part.text.strip() else None


def _is_text(delta: AnswerDelta) -> bool:
    """Whether text is all that it has: then the text of its one part is its own."""
    return not delta.parts or (len(delta.parts) == 1 and bool(delta.text))


_KEYS = {"text_delta": b"text", "thinking_delta": b"thinking", "input_json_delta": b"partial_json"}
_NO_END = {"stop_reason": None, "stop_sequence": None}
_REASONS = {"stop": "end_turn", "length": "max_tokens"}


def call_block(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    """A call's block."""
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def thought_block(text: str, signature: str = "") -> dict[str, Any]:
    """A thought's block."""
    return {"type": "thinking", "thinking": text, "signature": signature}


def _object(arguments: str) -> dict[str, Any]:
    """A call's arguments; those that were cut short, as the text that they are."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def ending(
    choice: AnswerDelta | CompletionOutput, *, called: bool, refused: bool
) -> dict[str, Any]:
    """stop_reason, and the stop sequence of the request that ended the choice, if one did."""
    if isinstance(choice.stop_reason, str):
        return {"stop_reason": "stop_sequence", "stop_sequence": choice.stop_reason}
    reason = _REASONS.get(choice.finish_reason or "", "end_turn")
    if reason == "end_turn" and (called or refused):
        reason = "tool_use" if called else "refusal"
    return {"stop_reason": reason, "stop_sequence": None}


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` in Anthropic's shape, where what was cached is no part of input_tokens."""
    counts: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts
