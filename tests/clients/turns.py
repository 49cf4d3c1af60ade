"""Ten turns of an agent: calls beside each other, thoughts between calls, broken arguments, an
empty answer, odd tool results; as OpenAI's chat and responses and Anthropic's messages have them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

ASKED = "Which is the warmest city?"
LOOKS_UP: Any = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Rome", "Oslo", "Lima"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
NOTES: Any = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 12}},
    "required": ["text"],
    "additionalProperties": False,
}
TOOLS: dict[str, Any] = {"weather": LOOKS_UP, "note": NOTES}


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: str  # as the model wrote them
    result: str

    @property
    def values(self) -> dict[str, Any]:
        """What a client makes of the arguments that has to send an object."""
        try:
            found = json.loads(self.arguments)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Turn:
    thought: str | None = None
    text: str | None = None
    calls: list[Call] = field(default_factory=list)
    said: str | None = None  # by the user, after it


def _weather(at: int, city: str, result: str) -> Call:
    return Call(f"call_{at}", "weather", json.dumps({"city": city, "days": 1}), result)


TURNS = [
    Turn("Rome first.", None, [_weather(1, "Rome", "22")]),
    Turn(None, "And two more.", [_weather(2, "Oslo", "4"), _weather(3, "Lima", '{"degrees": 19}')]),
    Turn("Write it down.", "", [Call("call_4", "note", '{"text": "Rome 22"}', "")]),
    Turn(None, None, [Call("call_5", "note", '{"text": "Ros', "error: not JSON")]),  # cut off
    Turn("Again.", None, [Call("call_6", "note", "[]", "error: no object\x00")]),
    Turn(None, None, [_weather(7, "Oslo", "é ✓"), Call("call_8", "note", "{}", "ok")]),
    Turn("It is Rome.", "Rome.", [], "Are you sure?"),
    Turn(None, None, [_weather(9, "Rome", "21"), _weather(10, "Lima", "20")]),
    Turn("Still Rome.", "Rome, at 21.", [], "And in a week?"),
    Turn(None, None, [Call("call_11", "weather", '{"city": "Rome", "days": 7}', "23")]),
]


def chat(turns: list[Turn]) -> list[dict[str, Any]]:
    """As OpenAI's chat completions, with the thoughts under a name that several servers share."""
    told: list[dict[str, Any]] = [
        {"role": "system", "content": "Use the tools."},
        {"role": "user", "content": [{"type": "text", "text": ASKED}]},
    ]
    for turn in turns:
        message: dict[str, Any] = {"role": "assistant", "content": turn.text, "refusal": None}
        if turn.thought:
            message["reasoning_content"] = turn.thought
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in turn.calls
            ]
        told.append(message)
        told += [
            {"role": "tool", "tool_call_id": call.id, "content": call.result} for call in turn.calls
        ]
        told += [{"role": "user", "content": turn.said}] if turn.said else []
    return told


def items(turns: list[Turn]) -> list[dict[str, Any]]:
    """As the items of OpenAI's responses."""
    told: list[dict[str, Any]] = [{"role": "user", "content": ASKED}]
    for at, turn in enumerate(turns):
        if turn.thought:
            thought = {"type": "reasoning_text", "text": turn.thought}
            told.append(
                {"type": "reasoning", "id": f"rs_{at}", "summary": [], "content": [thought]}
            )
        if turn.text:
            part = {"type": "output_text", "text": turn.text, "annotations": []}
            message = {"type": "message", "id": f"msg_{at}", "role": "assistant"}
            told.append({**message, "status": "completed", "content": [part]})
        told += [
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
            }
            for call in turn.calls
        ]
        told += [
            {"type": "function_call_output", "call_id": call.id, "output": call.result}
            for call in turn.calls
        ]
        told += [{"role": "user", "content": turn.said}] if turn.said else []
    return told


def blocks(turns: list[Turn]) -> list[dict[str, Any]]:
    """As the messages of Anthropic's API."""
    told: list[dict[str, Any]] = [{"role": "user", "content": ASKED}]
    for turn in turns:
        content: list[dict[str, Any]] = []
        if turn.thought:
            content.append({"type": "thinking", "thinking": turn.thought, "signature": "s"})
        if turn.text:
            content.append({"type": "text", "text": turn.text})
        content += [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.values}
            for call in turn.calls
        ]
        told.append({"role": "assistant", "content": content})
        results: list[dict[str, Any]] = [
            {"type": "tool_result", "tool_use_id": call.id, "content": call.result}
            for call in turn.calls
        ]
        results += [{"type": "text", "text": turn.said}] if turn.said else []
        told.append({"role": "user", "content": results})
    return told
