"""Calls as Phi-4 writes them, after its word or between its marks."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"functools[{WEATHER}]": [CALL],
    f"functools[{WEATHER}, {WEATHER}]": [CALL, CALL],
    f"<|tool_call|>[{WEATHER}]<|/tool_call|>": [CALL],
    f"<|tool_call|>{WEATHER}<|/tool_call|>": [CALL],
    f"Sure. functools[{WEATHER}] Ok": [("text", "Sure. "), CALL, ("text", " Ok")],
    'functools[{"name": "weather", "arguments": {"city": "a]\\"}"}}]': [
        ("call", "weather", '{"city": "a]\\"}"}')
    ],
    "Python has functools[...]": [("text", "Python has functools[...]")],
    "functools": [("text", "functools")],
    f"functools[{WEATHER}, x": [CALL, ("text", ", x")],
    "<|tool_call|>": [("text", "<|tool_call|>")],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("phi4"), text, expected)
