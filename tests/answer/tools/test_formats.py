"""What holds for all formats of calls: what they write, their parsers read, however it is cut, and
their grammars allow; what is no call stays text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import validate

from openllm.answer.formats import Call, Tool, tool_format
from openllm.answer.grammar import Rules
from openllm.discovery import variants
from openllm.types import Text, ToolCall
from tests.answer.cutting import CUTS, parts_of, told, tools

FORMATS = list(variants("openllm.tools"))
# What stands around the answer's text in these, and is not told.
WRAPPED = ("command", "harmony")

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
# Letters that could be taken for a part of a format, but cannot make up a whole mark.
TEXT = st.text(st.sampled_from("ab <>/{}[](),:;=\"'\\\n`é漢🙂"), max_size=24)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
KINDS = {
    str: "string",
    bool: "boolean",
    int: "integer",
    list: "array",
    dict: "object",
    type(None): "null",
}


def schema(arguments: dict[str, Any]) -> dict[str, Any]:
    """One that allows these arguments, and says the type of each."""
    kinds = {key: {"type": KINDS[type(value)]} for key, value in arguments.items()}
    return {"type": "object", "properties": kinds, "required": list(arguments)}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=3, unique_by=lambda c: c[0]), CUTS
)
def test_what_is_written_is_read(
    name: str, calls: list[tuple[str, dict[str, Any]]], cuts: list[int]
) -> None:
    text = tool_format(name).write([Call(f, json.dumps(x, ensure_ascii=False)) for f, x in calls])
    parts = parts_of(tools(name, {f: schema(x) for f, x in calls}), text, cuts)
    found = [part for part in parts if isinstance(part, ToolCall)]
    assert [(part.name, json.loads(part.arguments)) for part in found] == calls
    assert [part.index for part in found] == list(range(len(calls)))
    assert len({part.id for part in found}) == len(calls)
    assert "".join(part.text for part in parts if not isinstance(part, ToolCall)).strip() == ""


def pieces(name: str) -> st.SearchStrategy[str]:
    """Texts made of the marks of a format and of what may stand between them."""
    marks = list(tool_format(name).parser("", {}).markers)
    between = [
        *('{"name": "f"', '"arguments": {"x": ', '"f"', ": ", ", ", "}", "]", "[", "{", "(", ")"),
        *("<function=", "<parameter=", "</parameter>", "</function>", ">", "f", "=", "\n", " "),
        *("<invoke name=", "<parameter name=", "</invoke>", "call:", "1", "```json\n", "```"),
        *("functions.f:0", "functools[", "analysis", " to=functions.f", "final", "word", "<", "\\"),
        *("é", "🙂", "'", '"', '{"name": "f", "arguments": {"x": 1}}', "[f(x=1)]", "null"),
    ]
    return st.lists(st.sampled_from([*marks * 4, *between]), max_size=14).map("".join)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), CUTS)
def test_whatever_is_written_the_cut_changes_nothing_and_text_is_not_lost(
    name: str, data: st.DataObject, cuts: list[int]
) -> None:
    text = data.draw(pieces(name))
    make = tools(name)
    found = told(make, text, cuts)
    assert found == told(make, text) == told(make, text, range(len(text)))
    if name not in WRAPPED and all(kind == "text" for kind, *_ in found):
        assert "".join(part for _, part in found) == text


TOOLS = (
    Tool(
        "get_weather",
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "places": {"type": "array", "items": {"$ref": "#/$defs/place"}},
                "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
            "$defs": {
                "place": {
                    "type": "object",
                    "properties": {"lat": {"type": "number"}, "safe": {"type": "boolean"}},
                    "required": ["lat"],
                    "additionalProperties": False,
                }
            },
        },
    ),
    Tool("now"),
    Tool(
        "pick",
        {
            "type": "object",
            "properties": {
                "what": {"type": "string", "minLength": 2, "maxLength": 3},
                "some": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1, "maximum": 3},
                    "minItems": 1,
                    "maxItems": 2,
                },
            },
            "required": ["what", "some"],
            "additionalProperties": False,
        },
    ),
)
SCHEMAS = {tool.name: tool.schema for tool in TOOLS}
VALID = [
    Call("get_weather", '{"city": "Rome", "unit": "C"}'),
    Call(
        "get_weather",
        '{"city": "Aix-en-Provence", "days": 3, "unit": "F",'
        ' "places": [{"lat": 43.5, "safe": true}, {"lat": -1}], "note": "été"}',
    ),
    Call("now"),
    Call("pick", '{"what": "ab", "some": [1]}'),
    Call("pick", '{"what": "abc", "some": [3, 2]}'),
]
INVALID = [
    Call("pick", '{"what": "a", "some": [1]}'),
    Call("pick", '{"what": "abcd", "some": [1]}'),
    Call("pick", '{"what": "ab", "some": []}'),
    Call("pick", '{"what": "ab", "some": [1, 2, 3]}'),
    Call("pick", '{"what": "ab", "some": [4]}'),
    Call("get_time"),
    Call("get_weather", '{"city": "Rome"}'),
    Call("get_weather", '{"city": "Rome", "unit": "K"}'),
    Call("get_weather", '{"city": "Rome", "days": "x", "unit": "C"}'),
]


def forced(name: str, several: bool, wanted: Sequence[Tool] = TOOLS) -> str:
    """The grammar of a call of one of the tools, or of several calls."""
    from openllm.answer.schema.writing import json_grammar

    rules = Rules(json_grammar)
    return rules.grammar(tool_format(name).grammar(rules, wanted, several))


def allows(grammar: str, text: str) -> bool:
    from xgrammar import Grammar
    from xgrammar.testing import _is_grammar_accept_string

    return bool(_is_grammar_accept_string(Grammar.from_ebnf(grammar), text))


@pytest.mark.parametrize("name", FORMATS)
def test_the_grammar_allows_what_is_written_and_no_other_call(name: str) -> None:
    pytest.importorskip("xgrammar")
    write, grammar = tool_format(name).write, forced(name, several=False)
    assert [call for call in VALID if not allows(grammar, write([call]))] == []
    assert [call for call in INVALID if allows(grammar, write([call]))] == []
    assert not allows(grammar, "It is warm.")
    assert not allows(grammar, write(VALID))


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "harmony"])
def test_the_grammar_allows_several_calls_where_they_are_wanted(name: str) -> None:
    pytest.importorskip("xgrammar")
    write, grammar = tool_format(name).write, forced(name, several=True)
    assert allows(grammar, write(VALID))
    assert allows(grammar, write(VALID[:1]))
    assert not allows(grammar, write([*VALID, INVALID[0]]))


CHOOSER = Tool(
    "choose",
    {
        "type": "object",
        "properties": {
            "what": {"enum": ["a", "b 'c'", 'd "e"', "<é>"]},
            "sure": {"type": "boolean"},
            "some": {"type": "array", "items": {"type": "null"}, "maxItems": 2},
        },
        "required": ["what", "some"],
        "additionalProperties": False,
    },
)


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_the_grammar_allows_the_parser_reads(name: str) -> None:
    """Written letter by letter by a model that has learned nothing."""
    xgrammar = pytest.importorskip("xgrammar")
    letters = [chr(code) for code in [10, *range(32, 127)]]
    letters += sorted({*"<é>", *tool_format(name).write([Call("f")])} - set(letters))
    info = xgrammar.TokenizerInfo([*letters, "<end>"], stop_token_ids=[len(letters)])
    compiled = xgrammar.GrammarCompiler(info).compile_grammar(forced(name, True, [CHOOSER]))
    make = tools(name, {CHOOSER.name: CHOOSER.schema})
    for seed in range(5):
        text = walk(compiled, letters, random.Random(seed))
        parts = parts_of(make, text)
        calls = [part for part in parts if isinstance(part, ToolCall)]
        assert calls
        assert "".join(part.text for part in parts if isinstance(part, Text)).strip() == ""
        for call in calls:
            assert call.name == "choose"
            validate(json.loads(call.arguments), CHOOSER.schema)


def walk(compiled: Any, letters: list[str], chance: random.Random) -> str:
    """A text that the grammar allows, each next letter drawn among those that it does."""
    import xgrammar

    matcher, text = xgrammar.GrammarMatcher(compiled), ""
    mask = xgrammar.allocate_token_bitmask(1, len(letters) + 1)
    while not matcher.is_terminated():
        matcher.fill_next_token_bitmask(mask)
        row = mask[0].tolist()
        allowed = [at for at in range(len(letters) + 1) if row[at // 32] >> at % 32 & 1]
        # the end of the text, wherever it may end, for there are walks without one
        at = len(letters) if len(letters) in allowed else chance.choice(allowed)
        assert matcher.accept_token(at)
        text += letters[at] if at < len(letters) else ""
    return text
