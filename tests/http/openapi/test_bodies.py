"""The schema of a body is what its handler asks for, found without doing what it does."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.http.body.fields import Fields, required
from openllm.http.exchange import Exchange
from openllm.http.openapi.bodies import body_schema
from openllm.http.routes import Endpoint
from openllm.protocols.native.dialect import NATIVE


def schema_of(read: Any, done: list[object] | None = None) -> Any:
    async def handler(exchange: Exchange) -> None:
        fields = await exchange.fields()
        read(fields)
        fields.close()
        (done if done is not None else []).append(exchange)
        raise AssertionError("the handler went on")

    return body_schema(Endpoint("/", handler, NATIVE), Settings())


def test_types_and_bounds_are_those_of_the_readers() -> None:
    def read(fields: Fields) -> None:
        fields.text("text", longest=9)
        fields.flag("flag")
        fields.integer("count", 2, 5)
        fields.choice("mode", "a", "b")
        fields.texts("stop", most=3)
        fields.mapping("bias", most=4)
        fields.items("ids", most=5)
        fields.raw("other")
        fields.present(("temperature", "unheard"))

    one = {"type": "string"}
    assert schema_of(read)["properties"] == {
        "text": {"type": "string", "maxLength": 9},
        "flag": {"type": "boolean"},
        "count": {"type": "integer", "minimum": 2, "maximum": 5},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "stop": {"anyOf": [one, {"type": "array", "items": one, "maxItems": 3}]},
        "bias": {"type": "object", "maxProperties": 4},
        "ids": {"type": "array", "maxItems": 5},
        "other": {},
        "temperature": {"type": "number"},  # as SamplingParams has it
        "unheard": {},
    }


def test_objects_within_and_what_they_need() -> None:
    def entry(fields: Fields) -> None:
        kind = required(fields, "kind", fields.choice("kind", "number", "pair"))
        if kind == "pair":
            required(fields, "right", fields.text("right"))
        required(fields, "left", fields.text("left"))
        fields.close()

    def read(fields: Fields) -> None:
        entries = required(fields, "entries", fields.objects("entries", most=2))
        for item in entries:
            entry(item)

    found = schema_of(read)
    assert found["required"] == ["entries"]
    items = found["properties"]["entries"]["items"]
    assert list(items["properties"]) == ["kind", "left", "right"]
    assert items["required"] == ["kind", "left"]  # `right` with one kind alone


def test_one_of_two_is_required_so_neither_is() -> None:
    def read(fields: Fields) -> None:
        if fields.said("messages"):
            fields.objects("messages", most=1)
        else:
            required(fields, "prompt", fields.text("prompt"))

    found = schema_of(read)
    assert list(found["properties"]) == ["messages", "prompt"]
    assert "required" not in found


def test_what_may_be_an_object_says_so_of_objects_alone() -> None:
    def read(fields: Fields) -> None:
        value = fields.raw("choice")
        if isinstance(value, dict):
            fields.entry(value, fields.path("choice")).text("name")
        for at, item in enumerate(fields.items("documents", most=3) or ()):
            if not isinstance(item, str):
                fields.entry(item, f"documents[{at}]").text("data")

    assert schema_of(read)["properties"] == {
        "choice": {"properties": {"name": {"type": "string"}}},
        "documents": {
            "type": "array",
            "maxItems": 3,
            "items": {"properties": {"data": {"type": "string"}}},
        },
    }


def test_nothing_is_done_and_what_is_refused_is_still_described() -> None:
    done: list[object] = []

    def read(fields: Fields) -> None:
        if fields.flag("broken"):
            raise InvalidRequest("no")
        fields.text("name")

    assert list(schema_of(read, done)["properties"]) == ["broken", "name"]
    assert done == []


@pytest.mark.parametrize("wants", ["path_params", "caller"])
def test_a_route_without_a_body_has_no_schema(wants: str) -> None:
    async def handler(exchange: Exchange) -> None:
        getattr(exchange, wants)

    assert body_schema(Endpoint("/", handler, NATIVE), Settings()) is None
