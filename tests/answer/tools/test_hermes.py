"""Calls as Hermes and Qwen write them, however they are cut, and what only looks like one."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openllm.answer.tools.hermes import HermesParser
from openllm.types import ToolCall
from tests.answer.cutting import CUTS, told

WEATHER = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
CASES = {
    WEATHER: [("call", "weather", '{"city": "Rome"}')],
    f"Let me see. {WEATHER}": [("text", "Let me see. "), ("call", "weather", '{"city": "Rome"}')],
    f"{WEATHER}\n{WEATHER}": [
        ("call", "weather", '{"city": "Rome"}'),
        ("text", "\n"),
        ("call", "weather", '{"city": "Rome"}'),
    ],
    '<tool_call>{"arguments": {"a": [1, {"b": "}</tool_call>"}]}, "name": "f"}</tool_call> ok': [
        ("call", "f", '{"a": [1, {"b": "}</tool_call>"}]}'),
        ("text", " ok"),
    ],
    '<tool_call>{"name": "f"}</tool_call>': [("call", "f", "{}")],
    '<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>': [
        ("call", "f", '{"x": 1}')
    ],
    # without the closing mark, as small models do
    '<tool_call>{"name": "f", "arguments": {}}': [("call", "f", "{}")],
    # cut off by max_tokens
    '<tool_call>{"name": "f", "arguments": {"x": "lon': [("call", "f", '{"x": "lon')],
    '<tool_call>{"name": "f", "argu': [("text", '<tool_call>{"name": "f", "argu')],
    "a < b <tool": [("text", "a < b <tool")],
    "<tool_call>no JSON</tool_call>": [("text", "<tool_call>no JSON</tool_call>")],
    '<tool_call>{"x": 1}</tool_call>': [("text", '<tool_call>{"x": 1}</tool_call>')],
    "": [],
}


@pytest.mark.parametrize(("text", "expected"), CASES.items())
def test_what_is_found(text: str, expected: list[tuple[str, ...]]) -> None:
    assert told(HermesParser, text) == expected


@given(st.sampled_from(list(CASES)), CUTS)
@example(WEATHER, list(range(400)))
def test_the_cut_changes_nothing(text: str, cuts: list[int]) -> None:
    assert told(HermesParser, text, cuts) == CASES[text]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=20),
    st.text(min_size=1, max_size=12),
    st.dictionaries(st.text(max_size=6), JSON, max_size=4),
    CUTS,
)
def test_any_call_comes_back_as_it_was_written(
    before: str, name: str, arguments: dict[str, object], cuts: list[int]
) -> None:
    call = json.dumps({"name": name, "arguments": arguments})
    found = told(HermesParser, f"{before}<tool_call>{call}</tool_call>", cuts)
    expected = [("call", name, json.dumps(arguments))]
    assert found == ([("text", before)] if before else []) + expected


@given(st.text('<tool_call>{}/" \\nae', max_size=60), CUTS)
def test_no_character_is_lost_of_what_is_no_call(text: str, cuts: list[int]) -> None:
    found = told(HermesParser, text, cuts)
    assert found == told(HermesParser, text)
    if all(kind == "text" for kind, *_ in found):
        assert "".join(part for _, part in found) == text


def test_arguments_come_while_they_are_written() -> None:
    parser, pieces = HermesParser(), []
    for letter in WEATHER:
        pieces += parser.feed(letter)
    calls = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert len(calls) > 10
    assert [(call.id is None, call.name) for call in calls[1:]] == [(True, None)] * (len(calls) - 1)
    assert {call.index for call in calls} == {0}
