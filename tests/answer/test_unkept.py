"""What formats that do not write JSON cannot keep of a tool's schema, by keyword and place."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.answer.formats import tool_format
from openllm.answer.unkept import in_bare_values, in_literals
from openllm.discovery import variants

PLAIN: Any = {"type": "string", "minLength": 2, "description": "a word", "format": "colour"}
DEFINED: Any = {"$defs": {"word": {"type": "string", "pattern": "^a"}, "free": {"type": "string"}}}


def arguments(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


KEPT_BY_BOTH = [
    arguments(),
    {**arguments(a=PLAIN, b={"type": "integer", "minimum": 3}), "required": ["a"]},
    arguments(a={"enum": ["x", 1, None]}, b={"const": True}, c={"type": "string", "enum": ["x"]}),
    arguments(a={"type": "array", "items": {"type": "string"}, "minItems": 1}),
    arguments(a={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
    arguments(a={"oneOf": [{"type": "string"}, {"type": "null"}]}),
    arguments(a={"type": ["string", "null"]}, b={}),
    arguments(a=arguments(b={"type": "number", "multipleOf": 2})),
    {**arguments(a={"$ref": "#/$defs/free"}), **DEFINED},
    arguments(a={"allOf": [{"type": "integer"}], "title": "A", "default": 3}),
    {**arguments(a={"allOf": [{"$ref": "#/$defs/free"}], "description": "a"}), **DEFINED},
]
# What is written as literals loses these; where each argument is marked they are kept.
LOST_IN_LITERALS = [
    (arguments(a={"type": "string", "pattern": "^a"}), "pattern (a)"),
    (arguments(a={"type": "string", "format": "date"}), "format (a)"),
    (arguments(a={"type": "string", "allOf": [{"maxLength": 3}]}), "allOf (a)"),
    (arguments(a={"type": "string", "not": {"const": "x"}}), "not (a)"),
    (arguments(a={"allOf": [{"type": "integer"}, {"minimum": 3}]}), "allOf (a)"),
    (arguments(a={"enum": ["ab", "c"], "minLength": 2}), "minLength (a)"),
    (arguments(a={"enum": ["ab", 1], "type": "string"}), "type (a)"),
    (
        arguments(a={"anyOf": [{"type": "string", "pattern": "^a"}, {"type": "null"}]}),
        "pattern (a)",
    ),
    (arguments(a={"anyOf": [{"type": "string"}], "maxLength": 3}), "maxLength (a)"),
    (arguments(a={"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]}), "oneOf (a)"),
    ({**arguments(a={"$ref": "#/$defs/word"}), **DEFINED}, "pattern (a)"),
    ({**arguments(a={"$ref": "#/$defs/free", "maxLength": 3}), **DEFINED}, "maxLength (a)"),
    (
        {**arguments(a={"allOf": [{"$ref": "#/$defs/free", "maxLength": 3}]}), **DEFINED},
        "maxLength (a)",
    ),
    ({**arguments(a=PLAIN), "allOf": [{"required": ["a"]}]}, "allOf (the whole)"),
    ({**arguments(a=PLAIN), "if": {"required": ["a"]}}, "if (the whole)"),
    (arguments(a={"type": "array", "items": {"type": "string", "pattern": "x"}}), "pattern (a[])"),
    (arguments(a={"type": "array", "prefixItems": [{}]}), "prefixItems (a)"),
    (
        arguments(a={"type": "object", "additionalProperties": {"type": "integer"}}),
        "additionalProperties (a)",
    ),
    (arguments(a=arguments(b={"type": "string", "format": "uuid"})), "format (a.b)"),
    (arguments(a={**arguments(b={}), "patternProperties": {"^x": {}}}), "patternProperties (a)"),
    (
        {"type": "object", "properties": {"a": PLAIN}, "required": ["b"]},
        "required, of b that is no property (the whole)",
    ),
]
# Whoever marks each argument does not count them.
LOST_BY_BOTH = [
    ({**arguments(a=PLAIN), "minProperties": 1}, "minProperties (the whole)"),
    ({**arguments(a=PLAIN, b=PLAIN), "maxProperties": 1}, "maxProperties (the whole)"),
]


@pytest.mark.parametrize("schema", KEPT_BY_BOTH)
def test_nothing_is_lost(schema: Any) -> None:
    assert in_bare_values(schema) is None
    assert in_literals(schema) is None


@pytest.mark.parametrize(("schema", "lost"), LOST_BY_BOTH)
def test_what_both_lose(schema: Any, lost: str) -> None:
    assert in_bare_values(schema) == lost
    assert in_literals(schema) == lost


@pytest.mark.parametrize(("schema", "lost"), LOST_IN_LITERALS)
def test_what_literals_lose(schema: Any, lost: str) -> None:
    assert in_literals(schema) == lost
    assert in_bare_values(schema) is None


def test_which_formats_lose_anything() -> None:
    formats = {name: tool_format(name) for name in variants("openllm.tools")}
    patterned = arguments(a={"type": "string", "pattern": "^a"})
    counted = {**patterned, "minProperties": 1}
    literals, bare = {"gemma", "gemma4", "pythonic"}, {"glm45", "minimax", "qwen3_coder"}
    assert losing(formats, patterned) == literals
    assert losing(formats, counted) == literals | bare


def losing(formats: dict[str, Any], schema: Any) -> set[str]:
    return {name for name, form in formats.items() if form.unkept(schema) is not None}
