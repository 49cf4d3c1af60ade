"""What `openllm build` adds to BentoML's own files: the same each time, and scanned as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.inspect import inspect_bento
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError


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


def test_a_secret_in_the_licence_of_a_model_stops_the_build(
    home: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written beside BentoML's own files is scanned, too."""
    monkeypatch.setenv("HF_TOKEN", "hf_planted_secret")
    (weights / "LICENSE").write_text("hf_planted_secret")
    with pytest.raises(BuildError, match=r"the value of HF_TOKEN in licences/parrot/LICENSE"):
        build(LLMSpec(model_id=str(weights), backend="echo"))
    assert list((home / "bentos").rglob("bento.yaml")) == []
