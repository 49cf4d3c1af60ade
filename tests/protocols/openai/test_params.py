"""Sampling fields of the wire as overrides of an LLM's defaults: only what was said, under our
names.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.protocols.openai.params import read_sampling
from openllm.types import Structure, StructureKind

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def read(body: dict[str, Any]) -> dict[str, Any]:
    fields = Fields(body)
    found = read_sampling(fields, Settings())
    fields.close()
    return found


def test_what_is_not_said_is_left_to_the_models_defaults() -> None:
    assert read({}) == {}
    assert read({"temperature": None, "stop": None, "include_stop_str_in_output": False}) == {}
    assert read({"temperature": 0, "seed": 0, "ignore_eos": False}) == {
        "temperature": 0,
        "seed": 0,
        "ignore_eos": False,
    }


def test_names_become_ours() -> None:
    assert read({"stop": "x", "include_stop_str_in_output": True}) == {
        "stop": ("x",),
        "include_stop": True,
    }
    assert read({"logit_bias": {"5": 1}, "stop_token_ids": [7]}) == {
        "logit_bias": {"5": 1},
        "stop_token_ids": [7],
    }


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ({"response_format": {"type": "json_object"}}, StructureKind.JSON_OBJECT, ""),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": SCHEMA},
                }
            },
            StructureKind.JSON_SCHEMA,
            SCHEMA,
        ),
        ({"structured_outputs": {"json": SCHEMA}}, StructureKind.JSON_SCHEMA, SCHEMA),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, StructureKind.JSON_SCHEMA, SCHEMA),
        ({"structured_outputs": {"json_object": True}}, StructureKind.JSON_OBJECT, ""),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, StructureKind.CHOICE, ["yes", "no"]),
        ({"structured_outputs": {"regex": "[ab]+"}}, StructureKind.REGEX, "[ab]+"),
        (
            {"structured_outputs": {"grammar": 'root ::= "a"'}},
            StructureKind.GRAMMAR,
            'root ::= "a"',
        ),
    ],
)
def test_structures(body: dict[str, Any], kind: StructureKind, value: Any) -> None:
    found: Structure = read(body)["structure"]
    assert found.kind is kind
    assert (found.value if isinstance(value, str) else json.loads(found.value)) == value


def test_plain_text_is_no_structure() -> None:
    assert read({"response_format": {"type": "text"}, "structured_outputs": None}) == {}
