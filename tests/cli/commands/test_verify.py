"""A changed Bento is named, and makes the exit code 1."""

from __future__ import annotations

import json
import shutil
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


def test_verify_says_how_much_it_checked(run: Run, built: BuildResult) -> None:
    result = run("verify", built.tag)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{built.tag} is as it was built: ")


def test_start_checks_the_weights_that_it_would_load(
    run: Run, built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not those that somebody has put into the Bento."""
    (stored,) = built.models
    name, _, version = stored.tag.partition(":")
    shutil.copytree(stored.path, built.path / "models" / name / version)
    (built.path / "models" / name / "latest").write_text(version)
    config = stored.path / "config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(f"{text} ")
    monkeypatch.setenv("OPENLLM_VERIFY", "1")
    result = run("start", built.tag)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert f"{built.tag} is not as it was built: models was added." in line


def test_verify_names_what_differs(run: Run, built: BuildResult) -> None:
    (built.path / "src/service.py").write_text("import os\n")
    result = run("verify", built.tag)
    assert result.exit_code == 1
    assert result.stdout == "src/service.py was changed.\n"
    assert (
        result.stderr
        == f"Error: {built.tag} is not as it was built: One of its files is different. Build it"
        " again.\n"
    )
    found = run("verify", built.tag, "-o", "json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["problems"] == ["src/service.py was changed."]
