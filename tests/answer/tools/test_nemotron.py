"""Calls as Nemotron writes them."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"<TOOLCALL>[{WEATHER}]</TOOLCALL>": [CALL],
    f"<TOOLCALL>[{WEATHER}, {WEATHER}]</TOOLCALL>": [CALL, CALL],
    f"Let me see.\n\n<TOOLCALL>[{WEATHER}]</TOOLCALL>": [("text", "Let me see.\n\n"), CALL],
    f"<TOOLCALL>[{WEATHER}]": [CALL],
    '<TOOLCALL>[{"name": "weather", "arguments": {"x": "</TOOLCALL>"}}]</TOOLCALL>!': [
        ("call", "weather", '{"x": "</TOOLCALL>"}'),
        ("text", "!"),
    ],
    '<TOOLCALL>[{"name": "weather", "arguments": "{\\"x\\": 1}"}]</TOOLCALL>': [
        ("call", "weather", '{"x": 1}')
    ],
    "<TOOLCALL>[]</TOOLCALL>": [("text", "<TOOLCALL>[]</TOOLCALL>")],
    "<TOOLCALL>[{": [("text", "<TOOLCALL>[{")],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("nemotron"), text, expected)
