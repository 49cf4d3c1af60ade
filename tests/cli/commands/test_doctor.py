"""`openllm doctor`: what is wrong, and the command that mends it."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from openllm.cli import health
from openllm.config.spec import LLMSpec
from tests.cli.conftest import Run


def findings(run: Run, **variables: str) -> tuple[int, dict[str, Any]]:
    result = run("doctor", "-o", "json", **variables)
    return result.exit_code, {item["what"]: item for item in json.loads(result.stdout)}


def test_a_machine_that_works_is_fine(run: Run) -> None:
    code, found = findings(run, OPENLLM_PORT="0")
    assert code == 0
    for what in ("Python", "Packages", "Engine pytorch", "Store", "Hub's cache", "Hub", "Port"):
        assert found[what]["state"] in {"fine", "note"}, found[what]
    assert found["Engine pytorch"]["state"] == "fine"
    lines = run("doctor").stdout.splitlines()
    assert any(line.startswith("ok  Engine pytorch") for line in lines)


def test_packages_that_do_not_fit_are_named_with_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9.0" if name == "bentoml" else real(name)
    )
    code, found = findings(run)
    assert code == 1
    assert "and 9.0 is installed" in found["Packages"]["said"]
    assert found["Packages"]["mend"].startswith('pip install "bentoml')


def test_no_engine_at_all_is_wrong_and_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def obstacle(spec: LLMSpec, name: str, settings: object) -> str:
        return f"{name} is not installed (pip install {name})."

    monkeypatch.setattr("openllm.backends.select.obstacle", obstacle)
    code, found = findings(run)
    assert code == 1
    assert found["Engine vllm"]["said"] == "vllm is not installed (pip install vllm)."
    assert found["Engine vllm"]["state"] == "wrong"


def test_a_port_in_use_and_a_full_disk_are_noted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2**30})()
    monkeypatch.setattr(health.shutil, "disk_usage", lambda path: usage)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = findings(run, OPENLLM_PORT=str(port))
    assert code == 0
    assert f"--port {port + 1}" in found["Port"]["mend"]
    assert "openllm prune" in found["Store"]["mend"]


def test_a_store_that_cannot_be_made_is_wrong(run: Run, tmp_path: Any) -> None:
    file = tmp_path / "file"
    file.write_text("")
    code, found = findings(run, BENTOML_HOME=str(file / "bentoml"))
    assert code == 1
    assert found["Store"]["mend"].startswith("export BENTOML_HOME=")


def test_a_directory_that_may_not_be_looked_into_is_a_finding(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real, shut = os.stat, tmp_path / "shut"
    shut.mkdir()

    def stat(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{shut}/"):  # root may look everywhere, so it is played
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(health, "hub_cache", lambda: shut / "cache" / "hub")
    _, found = findings(run)
    assert str(shut / "cache" / "hub") in found["Hub's cache"]["said"]
