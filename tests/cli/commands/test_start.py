"""What `start` hands to the library."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests import serving
from tests.cli.conftest import Run
from tests.serving import write_echo_model


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
        "--quiet",
    ]
    result = run(*args, OPENLLM_PORT="4000", OPENLLM_HOST="10.0.0.1", OPENLLM_API_KEY="k")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    ((specs, settings),) = seen
    assert specs == (LLMSpec(model_id="demo", family="demo", backend="echo"),)
    expected = {
        "host": "0.0.0.0",
        "log_level": "warning",
        "port": 4000,
        "api_key": "k",
        "max_body_bytes": 2**20,
        "ui": False,
    }
    assert settings == attrs.evolve(Settings.from_env(), **expected)


def test_open_shows_the_page_once_the_server_is_ready(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown, seen = [], threading.Event()
    llm = LLM.from_spec(
        LLMSpec(model_id=str(model := write_echo_model(tmp_path / "echo")), backend="echo"), model
    )

    def browse(url: str) -> bool:
        shown.append(url)
        seen.set()
        return False

    def serve_elsewhere(specs: Any, settings: Any, on_listening: Any) -> None:
        with serving.serve(llm) as running:
            on_listening(running.url)
            assert seen.wait(serving.LONG_WAIT)
            shown.append(running.url)

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr("openllm.bento.serve.serve", serve_elsewhere)
    assert run("start", "demo", "--open").exit_code == 0
    assert shown[0] == shown[1]
    refused = run("start", "demo", "--open", "--no-ui")
    assert refused.exit_code == 2
    assert "--open needs the page" in refused.stderr


@pytest.mark.parametrize(("port", "handed"), [("4000", False), ("0", True)])
def test_reload_opens_the_page_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, port: str, handed: bool
) -> None:
    commands: list[list[str]] = []
    shown: list[str] = []

    def run_reloading(command: list[str], watched: Any) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr("openllm.cli.reload.run_reloading", run_reloading)
    monkeypatch.setattr("openllm.cli.commands.start._open_when_ready", shown.append)
    args = ["start", "demo", "--reload", "--open", "--host", "127.0.0.1", "--port", port]
    monkeypatch.setattr("sys.argv", ["openllm", *args])
    assert run(*args).exit_code == 0
    assert "--reload" not in commands[0]
    assert ("--open" in commands[0]) is handed  # with no port of its own, every child has a new one
    assert shown == ([] if handed else ["http://127.0.0.1:4000"])
    assert run(*args, "--no-ui").exit_code == 2
    assert len(commands) == 1
