"""Servers of this machine: listed, stopped, and what they logged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.config.servers import registered
from tests.cli.conftest import Run

SERVER = (
    "import sys; from pathlib import Path; from openllm.config.servers import registered\n"
    "with registered(Path(sys.argv[1]), 'http://127.0.0.1:4321', ['demo', 'pirate']) as log:\n"
    "    log.write_text('one\\ntwo\\nthree\\n'); print('in', flush=True); input()"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is listed as a server."""
    command = [sys.executable, "-c", SERVER, str(tmp_path / "bentoml")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        yield child
        child.kill()


def test_servers_are_listed(run: Run, server: subprocess.Popen[bytes]) -> None:
    (found,) = json.loads(run("ps", "-o", "json").stdout)
    assert (found["pid"], found["models"]) == (server.pid, ["demo", "pirate"])
    assert "http://127.0.0.1:4321  demo, pirate  0:00:" in run("ps").stdout


@pytest.mark.parametrize("name", [(), ("4321",), ("pirate",), ("http://127.0.0.1:4321", "--now")])
def test_a_server_is_stopped_by_any_of_its_names(
    run: Run, server: subprocess.Popen[bytes], name: tuple[str, ...]
) -> None:
    result = run("stop", *name)
    assert (result.exit_code, result.stdout) == (0, "Stopped http://127.0.0.1:4321.\n")
    assert server.wait(10) != 0
    assert run("ps").stdout.startswith("No server runs here.")


def test_its_log_is_shown(run: Run, server: subprocess.Popen[bytes]) -> None:
    assert run("logs").stdout == "one\ntwo\nthree\n"
    assert run("logs", "demo", "-n", "1").stdout == "three\n"
    assert run("logs", "demo", "-n", "0").stdout == ""


@pytest.mark.parametrize("command", ["stop", "logs"])
def test_which_server_must_be_plain(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "No server runs here." in result.stderr
    with registered(tmp_path / "bentoml", "http://127.0.0.1:1", ["demo"]):
        result = run(command, "other")
        assert "No server here is called 'other'. `openllm ps`" in result.stderr
