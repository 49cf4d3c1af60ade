"""Versions, devices and variables, and the page that has them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import openllm
from openllm.backends import select
from openllm.config.settings import Settings, all_variables
from openllm.config.spec import LLMSpec
from openllm.errors import option
from tests.cli.conftest import Run

DOCS = Path(openllm.__file__).parents[1] / "docs" / "configuration.md"


def test_env_shows_versions_devices_and_variables(run: Run) -> None:
    result = run("env", OPENLLM_API_KEY="sk-hidden", OPENLLM_SEED="7")
    assert result.exit_code == 0
    assert re.search(rf"^openllm +{re.escape(openllm.__version__)}$", result.stdout, re.MULTILINE)
    assert re.search(r"^OPENLLM_SEED +7 +Seed of the engine", result.stdout, re.MULTILINE)
    assert re.search(r"^OPENLLM_API_KEY +\(set\) ", result.stdout, re.MULTILINE)
    assert "sk-hidden" not in result.output


def test_env_as_json_has_every_variable(run: Run) -> None:
    result = run("env", "-o", "json", OPENLLM_API_KEY="sk-hidden")
    found = json.loads(result.stdout)
    assert [item["name"] for item in found["variables"]] == [row.name for row in all_variables()]
    assert found["devices"]
    assert "sk-hidden" not in result.output


def test_env_says_what_keeps_a_backend_from_running_in_flags(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def obstacle(spec: LLMSpec, name: str, settings: Settings) -> str | None:
        return f"Give {option('device', 'cpu')}." if name == "vllm" else None

    monkeypatch.setattr(select, "obstacle", obstacle)
    found = json.loads(run("env", "-o", "json").stdout)["backends"]
    assert {item["name"]: item["obstacle"] for item in found}["vllm"] == "Give --device cpu."
    assert "Give --device cpu." in run("env").stdout


def test_env_warns_of_a_variable_that_nobody_knows(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("env", OPENLLM_BAKEND="echo").exit_code == 0
    assert caplog.messages == ["Unknown variable OPENLLM_BAKEND. Did you mean OPENLLM_BACKEND?"]


def test_the_page_on_configuration_has_the_table_as_it_is(run: Run) -> None:
    table = run("env", "-o", "markdown").stdout.strip()
    assert table in DOCS.read_text(encoding="utf-8"), (
        "replace the table by the output of `openllm env -o markdown`"
    )
