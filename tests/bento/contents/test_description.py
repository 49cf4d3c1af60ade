"""What a Bento says of itself: bill of materials, digests, licences; and that a change to it is
found.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.contents.licence import model_licence, spdx
from openllm.bento.inspect import inspect_bento, verify_bento
from openllm.bento.lock.requirements import lock_requirements
from openllm.bento.lock.wheel import wheel_name
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ServeError
from tests.bento.models import write_echo_adapter, write_echo_weights

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


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = write_echo_weights(tmp_path / "parrot")
    (path / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A parrot\n")
    (path / "LICENSE").write_text("You may keep it.\n")
    return path


@pytest.fixture
def built(home: Path, weights: Path, tmp_path: Path) -> BuildResult:
    adapter = write_echo_adapter(tmp_path / "pirate")
    return build(LLMSpec(model_id=str(weights), backend="echo", adapters=[f"{adapter}:ahoy"]))


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


def test_two_builds_of_the_same_say_the_same(built: BuildResult, weights: Path) -> None:
    first = (built.path / "sbom.cdx.json").read_bytes()
    shutil.rmtree(built.path)
    again = build(
        LLMSpec(model_id=str(weights), backend="echo", adapters=[f"{built.models[1].tag}:ahoy"])
    )
    assert again.tag == built.tag
    assert again.new
    assert (again.path / "sbom.cdx.json").read_bytes() == first


def test_the_terms_of_a_model_go_along(built: BuildResult) -> None:
    assert (built.path / "licences/parrot/LICENSE").read_text() == "You may keep it.\n"
    assert inspect_bento(built.tag).licences == ("licences/parrot/LICENSE",)


def test_inspect_shows_every_part(built: BuildResult) -> None:
    found = inspect_bento("parrot:latest")
    assert found.tag == built.tag
    assert found.specs == (built.specs[0].to_dict(),)
    assert [(model.tag, model.kind, model.licence) for model in found.models] == [
        (built.models[0].tag, "weights", "Apache-2.0"),
        (built.models[1].tag, "adapter", None),
    ]
    assert found.packages[:-1] == lock_requirements(["echo"]).pins
    assert found.sizes[built.models[0].tag] > 1024
    assert found.sizes["openllm wheel"] == (built.path / "src/wheels" / wheel_name()).stat().st_size
    assert json.loads(json.dumps(found.to_dict()))["sbom"]["bomFormat"] == "CycloneDX"


def test_an_untouched_bento_is_verified(built: BuildResult) -> None:
    found = verify_bento(built.tag)
    assert found.problems == ()
    assert found.checked > 10
    cache = built.path / "src/__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "service.cpython-311.pyc").write_bytes(b"what serving leaves behind")
    assert verify_bento(built.tag).problems == ()


@pytest.mark.parametrize(
    "name", ["src/service.py", "bento.yaml", "env/python/requirements.txt", "sbom.cdx.json"]
)
def test_a_changed_file_is_named(built: BuildResult, name: str) -> None:
    with (built.path / name).open("a") as file:
        file.write("\n")
    assert verify_bento(built.tag).problems == (f"{name} was changed.",)


def test_missing_and_added_files_are_named(built: BuildResult) -> None:
    (built.path / "README.md").unlink()
    (built.path / "src/extra.py").write_text("")
    (built.path / "src/link.py").symlink_to("nowhere")
    assert verify_bento(built.tag).problems == (
        "README.md is missing.",
        "src/extra.py was added.",
        "src/link.py was added.",
    )


def test_changed_weights_are_named(built: BuildResult) -> None:
    path = built.models[0].path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # it may be a link to where the weights came from
    path.write_bytes(bytes(data))
    assert verify_bento(built.tag).problems == (
        f"{built.models[0].tag}/model.safetensors was changed.",
    )


def test_missing_weights_are_named(built: BuildResult) -> None:
    shutil.rmtree(built.models[0].path)
    assert verify_bento(built.tag).problems == (
        f"{built.models[0].tag} is not in the model store.",
    )


@pytest.mark.parametrize("tag", ["nothing:1", "no tag at all", "../x:1"])
def test_no_such_bento_is_one_line(home: Path, tag: str) -> None:
    for look in (inspect_bento, verify_bento):
        with pytest.raises(ServeError, match="There is no Bento") as error:
            look(tag)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"files": {}}', '{"files": {}, "models": [{}]}']
)
def test_a_manifest_that_is_none_is_one_line(built: BuildResult, text: str | None) -> None:
    path = built.path / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(BuildError, match=r"manifest\.json") as error:
        verify_bento(built.tag)
    assert "\n" not in str(error.value)


def test_a_secret_in_the_licence_of_a_model_stops_the_build(
    home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written beside BentoML's own files is scanned, too."""
    monkeypatch.setenv("HF_TOKEN", "hf_planted_secret")
    (weights / "LICENSE").write_text("hf_planted_secret")
    with pytest.raises(BuildError, match=r"the value of HF_TOKEN in licences/parrot/LICENSE"):
        build(LLMSpec(model_id=str(weights), backend="echo"))
    assert list((home / "bentos").rglob("bento.yaml")) == []


@pytest.mark.parametrize(
    ("card", "family", "licence"),
    [
        ("---\nlicense: mit\n---\n", None, "MIT"),
        ("---\nlicense: other\nlicense_name: tongyi-qianwen\n---\n", "llama", "tongyi-qianwen"),
        ("---\nlicense: [\n---\n", "llama", "llama3.2"),
        ("# No front matter", "llama", "llama3.2"),
        (None, "llama", "llama3.2"),
        (None, "qwen", None),  # the id is not that family's default
        (None, None, None),
    ],
)
def test_the_licence_of_a_model(
    tmp_path: Path, card: str | None, family: str | None, licence: str | None
) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert model_licence(tmp_path, "meta-llama/Llama-3.2-1B-Instruct", family) == licence


def test_spdx_ids_have_their_case() -> None:
    assert (spdx("apache-2.0"), spdx("Apache 2.0"), spdx("llama3")) == (
        "Apache-2.0",
        "Apache-2.0",
        None,
    )
    assert re.fullmatch(r"BSD-3-Clause", spdx("bsd-3-clause") or "")
