"""What `start` hands to the library."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from tests.cli.conftest import Run


def test_start_hands_specs_and_settings_to_the_library(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "openllm.bento.serve.serve", lambda specs, settings: seen.append((specs, settings))
    )
    args = [
        "start",
        "demo",
        "--backend",
        "echo",
        "--host",
        "0.0.0.0",
        "--max-body-bytes",
        "1MiB",
        "--no-ui",
    ]
    result = run(*args, OPENLLM_PORT="4000", OPENLLM_HOST="10.0.0.1", OPENLLM_API_KEY="k")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    ((specs, settings),) = seen
    assert specs == (LLMSpec(model_id="demo", family="demo", backend="echo"),)
    expected = {
        "host": "0.0.0.0",
        "port": 4000,
        "api_key": "k",
        "max_body_bytes": 2**20,
        "ui": False,
    }
    assert settings == attrs.evolve(Settings.from_env(), **expected)
