"""A Bento, and where the engine of a test writes down how it was called."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.config.spec import LLMSpec


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo"))


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine on PATH that writes down how it was called, and where it does."""
    place = tmp_path / "record"
    place.mkdir()
    monkeypatch.setenv("RECORD", str(place))
    return place
