"""Calls as GLM 4.5 and later ones write them."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "at": {}},
}


def argument(key: str, value: str) -> str:
    return f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"


def call(*arguments: str) -> str:
    return f"<tool_call>weather\n{''.join(arguments)}</tool_call>"


WEATHER = call(argument("city", "Rome"), argument("days", "3"))
CALL = ("call", "weather", '{"city": "Rome", "days": 3}')
CASES: dict[str, list[Told]] = {
    WEATHER: [CALL],
    WEATHER.replace("\n", ""): [CALL],
    f"Let me see.\n{WEATHER}\n{WEATHER}": [
        ("text", "Let me see.\n"),
        CALL,
        ("text", "\n"),
        CALL,
    ],
    "<tool_call>now</tool_call>": [("call", "now", "{}")],
    "<tool_call>now\n</tool_call>": [("call", "now", "{}")],
    call(argument("city", '\n<b>"é"\n')): [("call", "weather", '{"city": "\\n<b>\\"é\\"\\n"}')],
    call(argument("at", '{"lat": 1}')): [("call", "weather", '{"at": {"lat": 1}}')],
    call(argument("two words", "x")): [("call", "weather", '{"two words": "x"}')],
    "<tool_call>weather is nice</tool_call>": [("text", "<tool_call>weather is nice</tool_call>")],
    "<tool_call>weather\n<arg_key>city": [("text", "<tool_call>weather\n<arg_key>city")],
    WEATHER.partition("me<")[0]: [("call", "weather", '{"city": "Ro')],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("glm45", {"weather": SCHEMA}), text, expected)
