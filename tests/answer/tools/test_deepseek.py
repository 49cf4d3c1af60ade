"""Calls as DeepSeek's V3, R1 and V3.1 write them."""

from __future__ import annotations

import pytest

from openllm.answer.tools.deepseek_v31 import BETWEEN, CLOSE, OPEN, SECTION, SECTION_END
from tests.answer.cutting import Told, check_at_all_cuts, tools


def new(name: str, arguments: str) -> str:
    return f"{OPEN}{name}{BETWEEN}{arguments}{CLOSE}"


def old(name: str, arguments: str) -> str:
    return f"{OPEN}function{BETWEEN}{name}\n```json\n{arguments}\n```{CLOSE}"


QUERY = f'{{"q": "{CLOSE}{{"}}'
CODE = '{"q": "```"}'
CALL = ("call", "weather", '{"city": "Rome"}')
NEW, OLD = new("weather", CALL[2]), old("weather", CALL[2])
NEW_CASES: dict[str, list[Told]] = {
    f"{SECTION}{NEW}{SECTION_END}": [CALL],
    f"{SECTION}{NEW}{new('now', '{}')}{SECTION_END}": [CALL, ("call", "now", "{}")],
    f"I look.\n\n{SECTION}{NEW}{SECTION_END}": [("text", "I look.\n\n"), CALL],
    NEW: [CALL],
    f"{SECTION}{new('f', QUERY)}{SECTION_END}!": [
        ("call", "f", QUERY),
        ("text", "!"),
    ],
    f"{SECTION}{SECTION_END}": [("text", f"{SECTION}{SECTION_END}")],
    f"{SECTION}{OPEN}weather": [("text", f"{SECTION}{OPEN}weather")],
    f"{SECTION}{OPEN}weather{BETWEEN}Rome": [("text", f"{SECTION}{OPEN}weather{BETWEEN}Rome")],
}
OLD_CASES: dict[str, list[Told]] = {
    f"{SECTION}{OLD}{SECTION_END}": [CALL],
    f"{SECTION}{OLD}\n{old('now', '{}')}{SECTION_END}": [CALL, ("call", "now", "{}")],
    f"I look.{SECTION}{OLD}{SECTION_END}": [("text", "I look."), CALL],
    f"{SECTION}{old('f', CODE)}{SECTION_END}": [("call", "f", CODE)],
    f"{SECTION}{OPEN}function{BETWEEN}weather\nno": [
        ("text", f"{SECTION}{OPEN}function{BETWEEN}weather\nno")
    ],
}


@pytest.mark.parametrize(("text", "expected"), NEW_CASES.items())
def test_what_is_found_of_v31(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("deepseek_v31"), text, expected)


@pytest.mark.parametrize(("text", "expected"), OLD_CASES.items())
def test_what_is_found_of_v3(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("deepseek_v3"), text, expected)
