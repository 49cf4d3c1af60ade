"""The list of servers on this machine: who is in it, and how they get out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from openllm.config.servers import (
    DIRECTORY,
    KEPT_LOGS,
    address,
    listed,
    registered,
    running_servers,
)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::", "http://[::1]:3000"),
        ("::1", "http://[::1]:3000"),
    ],
)
def test_an_address_is_one_that_can_be_called(host: str, url: str) -> None:
    assert address(host, 3000) == url


def test_a_server_is_listed_while_it_lives(tmp_path: Path) -> None:
    with registered(tmp_path, "http://127.0.0.1:3000", ["demo"]) as log:
        (server,) = running_servers(tmp_path)
        assert (server.pid, server.port, server.models) == (os.getpid(), 3000, ("demo",))
        assert server.log == log
        assert server.is_running()
        assert all(server.answers_to(name) for name in ("demo", "3000", str(os.getpid())))
        assert not server.answers_to("other")
    assert running_servers(tmp_path) == []
    assert not server.is_running()


def test_one_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from openllm.config.servers import registered\n"
        "with registered(Path(sys.argv[1]), 'http://h:1', []): print('in', flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"in\n"
        assert [server.pid for server in running_servers(tmp_path)] == [child.pid]
        child.kill()
    assert running_servers(tmp_path) == []
    assert list((tmp_path / DIRECTORY).iterdir()) == []


def test_what_is_no_entry_is_passed_over_and_old_logs_go(tmp_path: Path) -> None:
    folder = tmp_path / DIRECTORY
    folder.mkdir()
    (folder / "7.json").write_text("{")
    for number in range(KEPT_LOGS + 3):
        (folder / f"{number}.log").write_text("")
        os.utime(folder / f"{number}.log", (number, number))
    assert running_servers(tmp_path) == []
    with registered(tmp_path, "http://h:1", []):
        pass
    assert sorted(int(path.stem) for path in folder.glob("*.log")) == list(range(3, KEPT_LOGS + 3))


def test_without_a_place_for_it_a_server_is_in_no_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with listed(tmp_path, "http://127.0.0.1:1", ["m"]) as log:
        assert log is not None
        assert [server.log for server in running_servers(tmp_path)] == [log]
    (tmp_path / "file").write_text("x")
    with listed(tmp_path / "file", "http://127.0.0.1:1", ["m"]) as log:
        assert log is None
    assert "keeps no log and is in no list" in caplog.text
