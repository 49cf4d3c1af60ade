"""What is in a Bento, printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.config.spec import LLMSpec
from tests.bento.conftest import echo_model, home
from tests.cli.conftest import Run

__all__ = ["echo_model", "home"]  # a store in this process, shared with the commands


@pytest.fixture
def built(run: Run, home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo", max_model_len=64))


def test_inspect_prints_tables_or_json(run: Run, built: BuildResult) -> None:
    result = run("inspect", "parrot:latest")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{built.tag}, built by openllm ")
    assert any(line.startswith("Spec: ") and "max_model_len=64" in line for line in lines)
    assert any(line.startswith(f"{built.models[0].tag}  weights  unknown") for line in lines)
    assert any(line.startswith("model.safetensors ") for line in lines)
    assert "SBOM: CycloneDX 1.6" in result.stdout
    found = json.loads(run("inspect", built.tag, "-o", "json").stdout)
    assert set(found["models"][0]["files"]) >= {"config.json", "model.safetensors"}
    assert {"specs", "packages", "sizes", "licences", "sbom"} <= set(found)


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_no_such_bento_is_one_line(run: Run, home: Path, command: str) -> None:
    result = run(command, "nothing:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr
        == "Error: There is no Bento 'nothing:1'. `bentoml list` shows what is there.\n"
    )
