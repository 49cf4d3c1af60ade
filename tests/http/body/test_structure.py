"""What bodies say of the form of an answer, as Hugging Face's clients say it too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openllm.errors import InvalidRequest
from openllm.http.body.fields import Fields
from openllm.http.body.structure import read_structure
from openllm.types import StructureKind

SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}}


def read(form: Any) -> Any:
    return read_structure(Fields({"form": form}), "form", "direct")


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        {"type": "json_object", "value": SCHEMA},
        {"type": "json", "value": SCHEMA},
        {"type": "json", "value": json.dumps(SCHEMA)},
    ],
)
def test_a_schema_in_its_forms(form: Any) -> None:
    structure = read(form)
    assert structure.kind is StructureKind.JSON_SCHEMA
    assert json.loads(structure.value) == SCHEMA


def test_any_object_a_regular_expression_any_text() -> None:
    assert read({"type": "json_object"}).kind is StructureKind.JSON_OBJECT
    assert read({"type": "regex", "value": "a+"}).value == "a+"
    assert read({"type": "text"}) is None


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({"type": "regex"}, "form.value is required"),
        ({"type": "json", "value": "no schema"}, "form.value"),
        ({"type": "json_object", "value": 1}, "form.value"),
        ({"type": "text", "value": "a"}, "form.value"),
        ({"type": "xml"}, "form.type"),
    ],
)
def test_what_is_none_of_them_is_refused(form: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        read(form)
