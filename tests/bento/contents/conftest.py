"""A model with terms, and a Bento of it and an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.config.spec import LLMSpec
from tests.bento.models import write_echo_adapter, write_echo_weights


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
