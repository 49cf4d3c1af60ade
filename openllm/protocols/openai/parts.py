"""The parts of an answer in OpenAI's shape: a message of them all, a chunk's delta of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from openllm.types import CompletionOutput, Part, Reasoning, Refusal, Text, ToolCall

_encode = msgspec.json.encode


def message(choice: CompletionOutput) -> dict[str, Any]:
    """The message of a whole choice: its content is null where there are calls and no text."""
    found: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if not choice.parts:
        return found
    calls = [_call(part) for part in choice.parts if isinstance(part, ToolCall)]
    if calls:
        found["content"] = choice.text if choice.text.strip() else None
        found["tool_calls"] = calls
    found["refusal"] = _joined(choice.parts, Refusal) or None
    if thought := _joined(choice.parts, Reasoning):
        found |= {"reasoning_content": thought, "reasoning": thought}
    return found


def _joined(parts: Iterable[Part], kind: type[Refusal] | type[Reasoning]) -> str:
    return "".join(part.text for part in parts if isinstance(part, kind))


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def has_calls(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, ToolCall) for part in parts)


def delta_of(part: Part) -> bytes:
    """A chunk's delta, less its closing brace."""
    if isinstance(part, ToolCall):
        return _call_delta(part)
    text = _encode(part.text)
    if isinstance(part, Text):
        return b'{"content":' + text
    if isinstance(part, Reasoning):
        return b'{"reasoning_content":' + text + b',"reasoning":' + text
    return b'{"refusal":' + text


def _call_delta(call: ToolCall) -> bytes:
    arguments = b'"function":{"arguments":' + _encode(call.arguments) + b"}}]"
    if call.id is None:
        return b'{"tool_calls":[{"index":%d,' % call.index + arguments
    return (
        b'{"tool_calls":[{"index":%d,"id":' % call.index
        + _encode(call.id)
        + b',"type":"function","function":{"name":'
        + _encode(call.name)
        + b',"arguments":'
        + _encode(call.arguments)
        + b"}}]"
    )
