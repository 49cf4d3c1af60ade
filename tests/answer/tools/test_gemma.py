"""Calls as FunctionGemma and Gemma 4 write them, with function tokens of their own."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}
CALL = ("call", "weather", '{"city": "Rome"}')
# written with Gemma 4's marks; FunctionGemma's are put in their place
CASES: dict[str, list[Told]] = {
    '<|tool_call>call:weather{city:<|"|>Rome<|"|>}<tool_call|>': [CALL],
    '<|tool_call>call:weather{city:<|"|>Rome<|"|>}<tool_call|>'
    '<|tool_call>call:weather{days:3,city:<|"|>a, {b}: "c"\né<|"|>}<tool_call|>': [
        CALL,
        ("call", "weather", '{"days": 3, "city": "a, {b}: \\"c\\"\\né"}'),
    ],
    'Yes. <|tool_call>call:f{a:{b:[1,<|"|>x<|"|>,{}],c:null},d:[]}<tool_call|> So.': [
        ("text", "Yes. "),
        ("call", "f", '{"a": {"b": [1, "x", {}], "c": null}, "d": []}'),
        ("text", " So."),
    ],
    '<|tool_call>call:f{<|"|>a b<|"|>:true, x:-1.5e3}<tool_call|>': [
        ("call", "f", '{"a b": true, "x": -1.5e3}')
    ],
    '<|tool_call>call:weather{days:<|"|>3<|"|>,city:7}<tool_call|>': [
        ("call", "weather", '{"days": 3, "city": "7"}')
    ],
    "<|tool_call>call:now{}<tool_call|>": [("call", "now", "{}")],
    "<|tool_call>call:now{}": [("call", "now", "{}")],
    "<|tool_call>call:f{mode:fast}<tool_call|>": [("call", "f", '{"mode": "fast"}')],
    "<|tool_call>f{}": [("text", "<|tool_call>f{}")],
    "<|tool_call>call:f": [("text", "<|tool_call>call:f")],
    '<|tool_call>call:weather{city:<|"|>Ro': [("call", "weather", '{"city": "Ro')],
    "<|tool_call>call:f{a:" + "[" * 100: [
        ("call", "f", '{"a": ' + "[" * 63),
        ("text", "[" * 37),
    ],
}
OLD = {
    "<|tool_call>": "<start_function_call>",
    "<tool_call|>": "<end_function_call>",
    '<|"|>': "<escape>",
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found_of_gemma_4(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("gemma4", {"weather": SCHEMA}), text, expected)


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found_of_functiongemma(text: str, expected: list[Told]) -> None:
    for new, old in OLD.items():
        text = text.replace(new, old)
        expected = [(part[0], *(word.replace(new, old) for word in part[1:])) for part in expected]
    check_at_all_cuts(tools("gemma", {"weather": SCHEMA}), text, expected)
