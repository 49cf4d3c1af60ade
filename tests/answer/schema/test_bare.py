"""Arguments that are written bare follow their schema, and are read as the JSON that it allows."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openllm.answer.formats import Call, Tool, tool_format
from openllm.answer.grammar import Rules
from openllm.answer.schema.writing import json_grammar
from openllm.types import ToolCall
from tests.answer.cutting import CUTS, parts_of, tools

pytest.importorskip("xgrammar")
jsonschema = pytest.importorskip("jsonschema")

FORMATS = ("glm45", "minimax", "qwen3_coder")
MARK = {"glm45": "</arg_value>", "minimax": "</parameter>", "qwen3_coder": "</parameter>"}
WORDS: Any = {"type": "array", "items": {"type": "string"}}
# As pydantic writes them: Optional[Literal], str | list[str], datetime, a reference that is
# described, and others that a text may be taken for.
SCHEMAS: dict[str, Any] = {
    "literal": {"anyOf": [{"enum": ["a", "5", "None", "d e"]}, {"type": "null"}]},
    "texts": {"anyOf": [{"type": "string"}, WORDS]},
    "time": {"type": "string", "format": "date-time"},
    "late": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
    "size": {"allOf": [{"$ref": "#/$defs/size"}], "description": "how large", "default": "5"},
    "many": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 3}]},
    "id": {"anyOf": [{"type": "string", "pattern": "^[a-c]+$"}, {"type": "integer"}]},
    "said": {"type": "string", "pattern": "\\S"},
    "short": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "boolean"}]},
    "place": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "string"}, {"type": "null"}]},
    "words": WORDS,
    "not": {"type": "string", "not": {"enum": ["no"]}},
    "any": {},
}
DEFINED = {
    "size": {"enum": ["5", "10"], "type": "string"},
    "place": {
        "type": "object",
        "properties": {"day": {"type": "string", "format": "date"}},
        "required": ["day"],
        "additionalProperties": False,
    },
}
TEXTS = st.sampled_from(
    [
        *("a", "5", "None", "null", "True", "d e", "10", "no", "abc", "", " ", "\n", "3", '"a"'),
        *("2026-02-28", "2026-02-30", "2026-02-28T10:00:00Z", "[", '["a"]', "[1]", "{", "<b>"),
        *("{}", '{"day": "2026-02-28"}', '{"day": "x"}', "</par", "(5)", "é🙂", "1e5", "0x10"),
    ]
)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.lists(TEXTS | st.integers(0, 2), max_size=2)
    | st.dictionaries(st.sampled_from(["day", "x"]), TEXTS, max_size=2)
)


def parameters(name: str) -> Any:
    return {
        "type": "object",
        "properties": {"x": SCHEMAS[name]},
        "required": ["x"],
        "additionalProperties": False,
        "$defs": DEFINED,
    }


@cache
def forced(form: str, name: str) -> Any:
    from xgrammar import Grammar

    rules = Rules(json_grammar)
    wanted = [Tool("f", parameters(name))]
    return Grammar.from_ebnf(rules.grammar(tool_format(form).grammar(rules, wanted, False)))


def allows(form: str, name: str, text: str) -> bool:
    from xgrammar.testing import _is_grammar_accept_string

    return bool(_is_grammar_accept_string(forced(form, name), text))


def written(form: str, value: Any) -> str:
    return tool_format(form).write([Call("f", json.dumps({"x": value}))])


def read(form: str, name: str, text: str, cuts: list[int]) -> Any:
    (call,) = parts_of(tools(form, {"f": parameters(name)}), text, cuts)
    assert isinstance(call, ToolCall)
    return json.loads(call.arguments)["x"]


def follows(name: str, value: Any) -> bool:
    schema = {**SCHEMAS[name], "$defs": DEFINED}
    formats = jsonschema.FormatChecker(["date"])
    formats.checks("date-time", raises=ValueError)(is_time)
    return bool(jsonschema.Draft202012Validator(schema, format_checker=formats).is_valid(value))


def is_time(value: Any) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(list(SCHEMAS)), VALUES, CUTS)
def test_what_is_allowed_is_read_as_the_schema_has_it(
    form: str, name: str, value: Any, cuts: list[int]
) -> None:
    text = written(form, value)
    assert tool_format(form).unkept(parameters(name)) is None
    valid = follows(name, value)
    if not allows(form, name, text):
        assert not valid or text.count(MARK[form]) > 1
        return
    found = read(form, name, text, cuts)
    assert follows(name, found)
    if valid and not isinstance(value, str):
        assert found == value
        assert type(found) is type(value)
    elif isinstance(found, str) and isinstance(value, str):
        assert found == value


@pytest.mark.parametrize("form", FORMATS)
def test_the_types_are_those_of_the_schema(form: str) -> None:
    cases = [
        *(("literal", "a"), ("literal", None), ("literal", "5"), ("literal", "None")),
        *(("texts", "[draft] one"), ("texts", "[1]"), ("texts", ["a", "[b"]), ("texts", "5")),
        *(("time", "2026-02-28T10:00:00Z"), ("late", "2026-02-28"), ("late", None)),
        *(("size", "5"), ("many", "2"), ("many", 3), ("many", "(5)"), ("id", 5), ("id", "abc")),
        *(("said", "1 < 2 <b>"), ("short", "yes"), ("short", True), ("place", '{"day": "x"}')),
        *(("place", {"day": "2026-02-28"}), ("place", None), ("words", ["</b>", '"', "\n"])),
    ]
    for name, value in cases:
        text = written(form, value)
        assert allows(form, name, text), (name, value)
        assert read(form, name, text, []) == value
    wrong = [
        *(("literal", "b"), ("time", "soon"), ("late", "2026-02-30"), ("size", "6"), ("id", "d")),
        *(("said", "  "), ("short", "long"), ("words", [1]), ("not", "no"), ("size", None)),
    ]
    for name, value in wrong:
        assert not allows(form, name, written(form, value)), (name, value)


@pytest.mark.parametrize("form", FORMATS)
def test_no_value_has_the_mark_in_it_that_ends_it(form: str) -> None:
    mark = MARK[form]
    for name, value in (("texts", f"a{mark}b"), ("said", mark), ("words", [f"a{mark}"])):
        assert not allows(form, name, written(form, value))
        assert allows(form, name, written(form, json.loads(json.dumps(value).replace(">", ""))))


@pytest.mark.parametrize("form", FORMATS)
def test_arguments_that_have_no_name_follow_what_is_said_of_them(form: str) -> None:
    from xgrammar import Grammar
    from xgrammar.testing import _is_grammar_accept_string

    rules = Rules(json_grammar)
    free = {"type": "object", "additionalProperties": {"type": "integer"}}
    grammar = rules.grammar(tool_format(form).grammar(rules, [Tool("f", free)], False))
    for arguments, allowed in (("{}", True), ('{"a": 1, "b": 2}', True), ('{"a": "x"}', False)):
        text = tool_format(form).write([Call("f", arguments)])
        assert _is_grammar_accept_string(Grammar.from_ebnf(grammar), text) is allowed
