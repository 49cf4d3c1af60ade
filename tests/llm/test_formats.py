"""What keeps an answer to what was asked of its tools, in every format there is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from openllm.answer.formats import Call, tool_format
from openllm.answer.schema.explored import explored, known
from openllm.config.spec import LLMSpec
from openllm.discovery import variants
from openllm.errors import InvalidRequest
from openllm.llm.formats import kept_to
from openllm.types import (
    Conversation,
    GenerationRequest,
    Message,
    Reading,
    SamplingParams,
    Structure,
    StructureKind,
    ToolUse,
)
from tests.protocols.openai.test_tools import allows
from tests.scripted import ScriptedBackend

FORMATS = tuple(variants("openllm.tools"))
SCHEMA = {
    "type": "object",
    "properties": {"zone": {"enum": ["UTC", "CET"]}},
    "required": ["zone"],
    "additionalProperties": False,
}


def kept(
    use: ToolUse,
    form: str | None = "hermes",
    schema: Any = SCHEMA,
    structure: Structure | None = None,
    reasoning: str | None = None,
) -> Structure | None:
    tool = {"type": "function", "function": {"name": "time", "parameters": schema}}
    asked = Conversation((Message("user", "hi"),), (tool,), tool_use=use)
    request = GenerationRequest(asked, SamplingParams(structure=structure))
    backend = ScriptedBackend(LLMSpec(model_id="x"), Path(), None)
    return asyncio.run(kept_to(request, Reading(reasoning, form, (tool,)), backend, ""))


def grammar(*args: Any, **kwargs: Any) -> str:
    structure = kept(*args, **kwargs)
    assert structure is not None
    assert structure.kind is StructureKind.GRAMMAR
    return structure.value


def written(form: str, name: str) -> str:
    return tool_format(form).write([Call(name, json.dumps({"zone": "UTC"}), "abcdefghi")])


@pytest.mark.parametrize("form", FORMATS)
def test_a_required_call_is_one_of_the_formats_own(form: str) -> None:
    found = grammar(ToolUse(required=True), form)
    assert allows(found, written(form, "time"))
    assert not allows(found, written(form, "tame"))
    assert not allows(found, "hello there")


@pytest.mark.parametrize("form", FORMATS)
def test_a_strict_tool_leaves_text_free(form: str) -> None:
    found = grammar(ToolUse(strict=frozenset(("time",))), form)
    assert allows(found, written(form, "time"))
    assert not allows(found, written(form, "tame"))
    assert allows(found, "hello there: 1 < 2 [sic]")


def test_what_is_left_to_the_model_has_no_grammar() -> None:
    assert kept(ToolUse()) is None
    assert kept(ToolUse(parallel=False), reasoning="think") is None


def test_a_structure_that_no_grammar_holds_stays_as_it_is() -> None:
    own = Structure(StructureKind.REGEX, "a+")
    assert kept(ToolUse(), structure=own) is own
    assert allows(grammar(ToolUse(required=True), structure=own), written("hermes", "time"))


@pytest.mark.parametrize(
    ("form", "beside", "lost"),
    [
        ("qwen3_coder", {"minProperties": 1}, r"minProperties \(the whole\)"),
        ("gemma4", {}, r"pattern \(zone\)"),
    ],
)
def test_what_a_format_cannot_keep_is_refused_where_it_must_be(
    form: str, beside: dict[str, int], lost: str
) -> None:
    zone = {"type": "string", "pattern": "^U"}
    schema = {"type": "object", "properties": {"zone": zone}, **beside}
    strict = ToolUse(strict=frozenset(("time",)))
    with pytest.raises(InvalidRequest, match=lost):
        kept(strict, form, schema=schema)
    assert allows(grammar(strict, "hermes", schema=schema), written("hermes", "time"))
    assert allows(grammar(ToolUse(required=True), form, schema=schema), written(form, "time"))


def test_what_calls_are_kept_to_is_known_to_who_reads_them() -> None:
    """Also where the grammar was made before and others were explored since."""
    schema = {"type": "object", "properties": {"zone": {"type": "string", "pattern": "^[UC]"}}}
    text = json.dumps(schema)
    for _ in range(2):
        assert allows(grammar(ToolUse(required=True), "glm45", schema), written("glm45", "time"))
        assert known(text) is not None
        for count in range(300):
            explored(json.dumps({"const": count}))
        assert known(text) is None


def test_a_schema_that_cannot_be_kept_is_refused_where_it_must_be() -> None:
    broken = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}
    with pytest.raises(InvalidRequest, match="parameters of time cannot be kept to"):
        kept(ToolUse(strict=frozenset(("time",))), schema=broken)
    assert allows(grammar(ToolUse(required=True), schema=broken), written("hermes", "time"))
