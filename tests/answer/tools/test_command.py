"""Calls as Cohere's Command writes them, and the marks around its answers."""

from __future__ import annotations

import pytest

from tests.answer.cutting import Told, check_at_all_cuts, tools

WEATHER = '{"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Rome"}}'
CALL = ("call", "weather", '{"city": "Rome"}')
CASES: dict[str, list[Told]] = {
    f"<|START_ACTION|>[\n    {WEATHER}\n]<|END_ACTION|>": [CALL],
    f"<|START_ACTION|>[\n    {WEATHER},\n    {WEATHER}\n]<|END_ACTION|>": [CALL, CALL],
    "<|START_RESPONSE|>It is warm.<|END_RESPONSE|>": [("text", "It is warm.")],
    "<|START_TEXT|>It is warm.<|END_TEXT|>": [("text", "It is warm.")],
    f"<|START_ACTION|>[{WEATHER}]<|END_ACTION|><|START_RESPONSE|>So.<|END_RESPONSE|>": [
        CALL,
        ("text", "So."),
    ],
    f"Action: ```json\n[\n{WEATHER}\n]```": [CALL],
    '<|START_ACTION|>[{"tool_name": "weather", "parameters": {"q": "<|END_ACTION|>"}}]': [
        ("call", "weather", '{"q": "<|END_ACTION|>"}')
    ],
    "<|START_ACTION|>[]<|END_ACTION|>": [("text", "<|START_ACTION|>[]<|END_ACTION|>")],
    "Action: go": [("text", "Action: go")],
    '<|START_ACTION|>[{"tool_call_id": "0", "tool_na': [
        ("text", '<|START_ACTION|>[{"tool_call_id": "0", "tool_na')
    ],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[Told]) -> None:
    check_at_all_cuts(tools("command"), text, expected)
