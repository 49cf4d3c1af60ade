"""Calls as Granite 3 writes them, with either of its marks."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"<|tool_call|>[{WEATHER}]": [CALL],
    f"<|tool_call|> [{WEATHER}, {WEATHER}]": [CALL, CALL],
    f"<tool_call>[{WEATHER}]": [CALL],
    f"<tool_call>\n{WEATHER}\n</tool_call>\n<tool_call>\n{WEATHER}\n</tool_call>": [
        CALL,
        ("text", "\n"),
        CALL,
    ],
    f"I look. <|tool_call|>[{WEATHER}] Well.": [("text", "I look. "), CALL, ("text", " Well.")],
    '<|tool_call|>[{"name": "weather", "arguments": {"q": "<|tool_call|>[{}]"}}]': [
        ("call", "weather", '{"q": "<|tool_call|>[{}]"}')
    ],
    "<|tool_call|>none": [("text", "<|tool_call|>none")],
    "<|tool_call|>[]": [("text", "<|tool_call|>[]")],
    '<|tool_call|>[{"name": "weather", "arguments": {"city': [("call", "weather", '{"city')],
    "a <|tool": [("text", "a <|tool")],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("granite"), text, expected)
