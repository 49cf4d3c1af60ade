"""Calls as Kimi K2 writes them, with ids of its own."""

from __future__ import annotations

import pytest

from openllm.answer.formats import Call, tool_format
from openllm.types import ToolCall
from tests.answer.cutting import Told, check_at_all_cuts, parts_of, tools


def call(name: str, arguments: str) -> str:
    return f"<|tool_call_begin|>{name}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def section(*calls: str) -> str:
    return f"<|tool_calls_section_begin|>{''.join(calls)}<|tool_calls_section_end|>"


WEATHER = call("functions.weather:0", '{"city": "Rome"}')
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    section(WEATHER): [CALL],
    section(WEATHER, call("functions.now:1", "{}")): [CALL, ("call", "now", "{}")],
    f"I look.{section(WEATHER)}": [("text", "I look."), CALL],
    WEATHER: [CALL],
    section(call("weather", '{"city": "Rome"}')): [CALL],
    section(call("functions.a.b:12", '{"q": "<|tool_call_end|>{é"}')): [
        ("call", "a.b", '{"q": "<|tool_call_end|>{é"}')
    ],
    f"<|tool_calls_section_begin|>\n{WEATHER}\n{WEATHER}\n<|tool_calls_section_end|> ok": [
        CALL,
        CALL,
        ("text", " ok"),
    ],
    section(): [("text", section())],
    section(call("functions.weather:0", "Rome")): [
        ("text", section(call("functions.weather:0", "Rome")))
    ],
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.weath": [
        ("text", "<|tool_calls_section_begin|><|tool_call_begin|>functions.weath")
    ],
    WEATHER.partition("Rome")[0]: [("call", "weather", '{"city": "')],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("kimi_k2"), text, expected)


def test_the_models_ids_are_kept_and_others_become_such() -> None:
    parts = parts_of(tools("kimi_k2"), section(WEATHER, call("functions.now:1", "{}")))
    found = [part.id for part in parts if isinstance(part, ToolCall)]
    assert found == ["functions.weather:0", "functions.now:1"]
    shown = tool_format("kimi_k2").history_id
    assert shown(Call("weather", id="functions.weather:3"), 0) == "functions.weather:3"
    assert shown(Call("weather", id="call_12"), 5) == "functions.weather:5"
