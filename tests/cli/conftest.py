"""One way to run a command line in a test: its exit code, what it printed, and nothing of this
machine's settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openllm.cli import cli

Run = Callable[..., Result]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process's environment without openllm's variables and with stores of its own; tests may
    add to it.
    """
    for name in [name for name in os.environ if name.startswith("OPENLLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return dict(os.environ)


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """`run("start", "demo", OPENLLM_SEED="1")`."""

    def invoke(*args: str, **variables: str) -> Result:
        return CliRunner().invoke(cli, args, env=variables)

    return invoke
