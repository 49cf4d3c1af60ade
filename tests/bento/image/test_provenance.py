"""The provenance of an image, and the bill of materials beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult
from openllm.bento.image.container import containerize
from openllm.bento.image.dockerfile import ContainerOptions
from openllm.errors import BuildError
from openllm.weights.checkpoint import file_digest, file_digests, join_digests
from tests.bento.image.engines import DIGEST, install


def test_it_names_the_image_and_all_that_it_is_made_of(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(record, monkeypatch, "buildah")
    folder = tmp_path / "deep/out"
    options = ContainerOptions(name="host/parrot:1", engine="buildah", push=True, attest=folder)
    made = containerize(built.tag, options)
    assert made.attestations == (folder / "provenance.json", folder / "sbom.cdx.json")
    assert (folder / "sbom.cdx.json").read_bytes() == (built.path / "sbom.cdx.json").read_bytes()
    text = (folder / "provenance.json").read_text()
    statement = json.loads(text)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": "host/parrot", "digest": {"sha256": DIGEST.removeprefix("sha256:")}}
    ]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["bento"] == built.tag
    assert "FROM python:" in definition["externalParameters"]["dockerfile"]
    digests = {item["uri"]: item["digest"]["sha256"] for item in definition["resolvedDependencies"]}
    (model,) = built.models
    assert digests == {
        f"docker://{options.base_image}": "c" * 64,
        f"bento:{built.tag}/manifest.json": file_digest(built.path / "manifest.json"),
        f"bento:{built.tag}/env/python/requirements.txt": file_digest(
            built.path / "env/python/requirements.txt"
        ),
        f"model:{model.tag}": join_digests(file_digests(model.path)),
    }
    assert containerize(built.tag, options).attestations
    assert (folder / "provenance.json").read_text() == text  # the same again: the same bytes


def test_a_directory_that_cannot_be_made_is_one_line(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(record, monkeypatch, "buildah")
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="file cannot be written: "):
        containerize(built.tag, ContainerOptions(engine="buildah", attest=tmp_path / "file"))
