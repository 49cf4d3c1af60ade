"""Calls in plain JSON, and JSON that is the answer itself."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    WEATHER: [CALL],
    f"  {WEATHER}\n": [CALL, ("text", "\n")],
    f"{WEATHER}\n{WEATHER}": [CALL, CALL],
    f"[{WEATHER},\n {WEATHER}]": [CALL, CALL],
    f"```json\n{WEATHER}\n```": [CALL],
    f"```\n[{WEATHER}]\n```": [CALL],
    f"I will look.\n```json\n{WEATHER}\n```\nDone.": [
        ("text", "I will look."),
        CALL,
        ("text", "\nDone."),
    ],
    '{"arguments": {"city": "Rome"}, "name": "weather"}': [CALL],
    '{"name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"}': [CALL],
    '{"name": "weather"}': [("call", "weather", "{}")],
    '{"name": "weather", "arguments": null}': [("call", "weather", "{}")],
    # an answer in JSON, a block of code, a list
    '{"name": "Rome", "age": 2778}': [("text", '{"name": "Rome", "age": 2778}')],
    '```json\n{"x": 1}\n```': [("text", '```json\n{"x": 1}\n```')],
    "[1, 2]\n- a\n- b": [("text", "[1, 2]\n- a\n- b")],
    # one good call and a bad one
    f"[{WEATHER}, 1]": [CALL, ("text", ", 1]")],
    '{"name": "weather", "arguments": {"city": "Rome"]}': [
        ("call", "weather", '{"city": "Rome"'),
        ("text", "]}"),
    ],
    '{"name": "weath': [("text", '{"name": "weath')],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("json", {"weather": {}}), text, expected)


def test_without_known_tools_a_call_has_arguments() -> None:
    answer = '{"name": "Rome"}'
    check_at_all_cuts(tools("json"), answer, [("text", answer)])
    check_at_all_cuts(tools("json"), WEATHER, [CALL])
