"""Calls as MiniMax M2 writes them."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}
INVOKE = (
    '<invoke name="weather">\n<parameter name="city">Rome</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n'
)
CALL = ("call", "weather", '{"city": "Rome", "days": 3}')


def section(*calls: str) -> str:
    return f"<minimax:tool_call>\n{''.join(calls)}</minimax:tool_call>"


CASES: dict[str, list[Told]] = {
    section(INVOKE): [CALL],
    section(INVOKE, INVOKE): [CALL, CALL],
    f"I look.\n{section(INVOKE)}": [("text", "I look.\n"), CALL],
    section(INVOKE.replace('"', "'")): [CALL],
    section(INVOKE.replace('"', "")): [CALL],
    section('<invoke name="now">\n</invoke>\n'): [("call", "now", "{}")],
    section('<invoke name="f">\n<parameter name="x">a\n"</invoke>é</parameter></invoke>'): [
        ("call", "f", '{"x": "a\\n\\"</invoke>é"}')
    ],
    "<minimax:tool_call>\nweather": [("text", "<minimax:tool_call>\nweather")],
    section(): [("text", section())],
    '<minimax:tool_call><invoke name="weather"><parameter name="city">Ro': [
        ("call", "weather", '{"city": "Ro')
    ],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("minimax", {"weather": SCHEMA}), text, expected)
