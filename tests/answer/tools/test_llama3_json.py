"""Calls as Llama 3 writes them, with and without its mark."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "parameters": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    WEATHER: [CALL],
    f"<|python_tag|>{WEATHER}": [CALL],
    f"\n\n{WEATHER}": [CALL],
    f"{WEATHER}; {WEATHER}": [CALL, CALL],
    f"{WEATHER};{WEATHER}<|python_tag|>{WEATHER}": [CALL, CALL, CALL],
    f"Let me look.\n{WEATHER}": [("text", "Let me look."), CALL],
    f"Let me look: {WEATHER}": [("text", f"Let me look: {WEATHER}")],
    '{"type": "function", "name": "weather", "parameters": {"city": "Zürich", "n": [1, {}]}}': [
        ("call", "weather", '{"city": "Zürich", "n": [1, {}]}')
    ],
    '{"name": "weather", "parameters": {"note": "a } ; {\\"b\\": \\"\\\\\\""}}': [
        ("call", "weather", '{"note": "a } ; {\\"b\\": \\"\\\\\\""}')
    ],
    f"{WEATHER}; and more": [CALL, ("text", "; and more")],
    # cut off by max_tokens
    '{"name": "weather", "parameters": {"city": "Ro': [("call", "weather", '{"city": "Ro')],
    '{"name": "weather", "param': [("text", '{"name": "weather", "param')],
    # code for the interpreter, which is none of the tools
    "<|python_tag|>print(1)": [("text", "<|python_tag|>print(1)")],
    # JSON that is the answer
    '{"name": "Rome", "parameters": {"n": 1}}': [
        ("text", '{"name": "Rome", "parameters": {"n": 1}}')
    ],
    '{"city": {"name": "weather"}}': [("text", '{"city": {"name": "weather"}}')],
    "{": [("text", "{")],
    "": [],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("llama3_json", {"weather": {}}), text, expected)
