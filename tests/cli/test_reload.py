"""`start --reload` runs its child again when a watched file changes, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openllm.cli.reload import snapshot

LONG_WAIT = 60.0
# A child that writes its process id when it starts, and ends cleanly when it is told to.
CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with open(sys.argv[1], "a") as log:
    log.write(f"{os.getpid()}\\n")
if len(sys.argv) > 2:
    sys.exit(3)
time.sleep(600)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("model_id: demo\n")
    return path


@pytest.fixture
def start(tmp_path: Path, watched: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a child under `run_reloading`, in a process of its own, since that takes the signals."""
    started: list[subprocess.Popen[str]] = []

    def begin(*child_args: str) -> subprocess.Popen[str]:
        child = [sys.executable, "-c", CHILD, str(tmp_path / "log"), *child_args]
        code = f"""
import sys
from pathlib import Path
from openllm.cli.reload import run_reloading
sys.exit(run_reloading({child!r}, [Path({str(watched)!r})]))
"""
        started.append(
            subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        )
        return started[0]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _started(tmp_path: Path, count: int) -> list[int]:
    """The children's process ids once there are `count`."""
    log = tmp_path / "log"
    deadline = time.monotonic() + LONG_WAIT
    while not log.exists() or len(log.read_text().split("\n")) <= count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(line) for line in log.read_text().split()]


def _touch(path: Path) -> None:
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_change_starts_the_child_anew_and_a_signal_ends_both(
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    watched: Path,
    number: signal.Signals,
) -> None:
    process = start()
    (first,) = _started(tmp_path, 1)
    _touch(watched)
    first, second = _started(tmp_path, 2)
    assert not _is_alive(first)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=LONG_WAIT)
    assert process.returncode == 0
    assert stderr == "recipe.yaml changed; starting again.\n"
    assert not _is_alive(second)


def test_a_child_that_fails_is_started_again_after_a_change(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, watched: Path
) -> None:
    process = start("fail")
    _started(tmp_path, 1)
    assert process.stderr is not None
    assert process.stderr.readline() == "Ended with exit code 3; waiting for a change.\n"
    _touch(watched)
    _started(tmp_path, 2)
    lines = [
        process.stderr.readline(),
        process.stderr.readline(),
    ]  # it has failed again before Ctrl+C comes
    assert lines[-1] == "Ended with exit code 3; waiting for a change.\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LONG_WAIT)
    assert process.returncode == 3


def test_files_of_a_directory_are_watched_but_not_its_weights(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "sub/code.py"):
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = snapshot([tmp_path / "model", tmp_path / "gone.yaml"])
    assert {path.name for path in found} == {"config.json", "code.py"}
