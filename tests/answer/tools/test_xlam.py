"""Calls as xLAM writes them: a list, bare or marked in several ways."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"name": "weather", "arguments": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"[{WEATHER}]": [CALL],
    f"[{WEATHER}, {WEATHER}]": [CALL, CALL],
    f"```json\n[{WEATHER}]\n```": [CALL],
    f"<tool_call>[{WEATHER}]</tool_call>": [CALL],
    f"Yes. [TOOL_CALLS][{WEATHER}]\nDone": [("text", "Yes. "), CALL, ("text", "\nDone")],
    '[{"name": "weather", "arguments": {"city": "[\\"}]é🙂"}}]': [
        ("call", "weather", '{"city": "[\\"}]é🙂"}')
    ],
    "[]": [("text", "[]")],
    "[1] is the source": [("text", "[1] is the source")],
    "<tool_call>[1]</tool_call>": [("text", "<tool_call>[1]</tool_call>")],
    f"[{WEATHER}, ": [CALL, ("text", ", ")],
    f"[{WEATHER}": [CALL],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("xlam", {"weather": {}}), text, expected)
