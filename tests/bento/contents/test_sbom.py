"""A Bento's bill of materials: its format, and what stands in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import jsonschema

from openllm.bento.build import BuildResult
from openllm.bento.lock.requirements import lock_requirements
from openllm.bento.lock.wheel import wheel_name

HASH = {
    "type": "object",
    "required": ["alg", "content"],
    "additionalProperties": False,
    "properties": {
        "alg": {"const": "SHA-256"},
        "content": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
}
LICENCE = {
    "type": "object",
    "oneOf": [{"required": ["expression"]}, {"required": ["license"]}],
    "properties": {
        "license": {
            "type": "object",
            "oneOf": [{"required": ["id"]}, {"required": ["name"]}],
            "additionalProperties": False,
            "properties": {"id": {"type": "string"}, "name": {"type": "string"}},
        },
        "expression": {"type": "string"},
    },
}
# The parts of the CycloneDX 1.6 JSON schema that the bill uses: required fields, enumerations and
# patterns.
BILL: dict[str, Any] = {
    "type": "object",
    "required": ["bomFormat", "specVersion"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {
            "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        },
        "version": {"type": "integer", "minimum": 1},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "tools": {"properties": {"components": {"items": {"$ref": "#/$defs/component"}}}},
                "component": {"$ref": "#/$defs/component"},
            },
        },
        "components": {
            "type": "array",
            "uniqueItems": True,
            "items": {"$ref": "#/$defs/component"},
        },
    },
    "$defs": {
        "component": {
            "type": "object",
            "required": ["type", "name"],
            "additionalProperties": False,
            "properties": {
                "type": {
                    "enum": [
                        "application",
                        "container",
                        "library",
                        "file",
                        "machine-learning-model",
                    ]
                },
                "bom-ref": {"type": "string", "minLength": 1},
                "name": {"type": "string"},
                "version": {"type": "string"},
                "purl": {"type": "string", "pattern": "^pkg:pypi/"},
                "hashes": {"type": "array", "items": HASH},
                "licenses": {"type": "array", "items": LICENCE},
                "properties": {
                    "type": "array",
                    "items": {"type": "object", "required": ["name", "value"]},
                },
                "components": {"type": "array", "items": {"$ref": "#/$defs/component"}},
            },
        }
    },
}


def bill(built: BuildResult) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built.path / "sbom.cdx.json").read_text())
    return found


def references(components: list[dict[str, Any]]) -> list[str]:
    return [
        item
        for each in components
        for item in (each["bom-ref"], *references(each.get("components", [])))
    ]


def test_the_bill_follows_the_format(built: BuildResult) -> None:
    found = bill(built)
    jsonschema.validate(found, BILL)
    named = references(found["components"])
    assert len(named) == len(set(named))


def test_the_bill_has_packages_wheel_and_models(built: BuildResult) -> None:
    parts = {item["bom-ref"]: item for item in bill(built)["components"]}
    assert {ref for ref in parts if ref.startswith("pkg:")} == {
        f"pkg:pypi/{line.replace('==', '@')}" for line in lock_requirements(["echo"]).pins
    }
    wheel = built.path / "src/wheels" / wheel_name()
    assert (
        parts[f"wheel:{wheel.name}"]["hashes"][0]["content"]
        == hashlib.sha256(wheel.read_bytes()).hexdigest()
    )
    weights, adapter = built.models
    model = parts[f"model:{weights.tag}"]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    files = {item["name"]: item["hashes"][0]["content"] for item in model["components"]}
    tensors = (weights.path / "model.safetensors").read_bytes()
    assert files["model.safetensors"] == hashlib.sha256(tensors).hexdigest()
    assert parts[f"model:{adapter.tag}"]["properties"][0] == {
        "name": "openllm:kind",
        "value": "adapter",
    }
