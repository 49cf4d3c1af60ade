"""Directories of unfinished work: whose they are, and what becomes of those of the dead."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openllm.weights.scratch import HIDDEN, abandoned, scratch

HOLD = """
import sys, time
from pathlib import Path
from openllm.weights.scratch import scratch
with scratch(Path(sys.argv[1])) as made:
    (made / "half").write_text("x")
    print(made, flush=True)
    sys.stdin.read()
"""


def test_the_next_one_removes_what_a_killed_process_left_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdout is not None
        theirs = Path(child.stdout.readline().strip())
        with scratch(tmp_path):
            assert (theirs / "half").exists()  # it lives
        child.kill()
        child.wait()
        assert abandoned(tmp_path) == [theirs]
        with scratch(tmp_path) as ours:
            assert [path.name for path in tmp_path.iterdir()] == [ours.name]
    assert not any(tmp_path.iterdir())


def test_another_users_directory_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs := tmp_path / "openllm-theirs").mkdir()
    real = os.open

    def open_own(path: Any, *args: Any, **options: Any) -> int:
        if Path(path) == theirs:  # root may open everything, so it is played
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr("openllm.weights.scratch.os.open", open_own)
    with scratch(tmp_path):
        assert theirs.is_dir()
    assert list(tmp_path.iterdir()) == [theirs]


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOSYS])
def test_where_directories_are_not_locked_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("openllm.weights.scratch.fcntl.flock", refuse)
    (other := tmp_path / "openllm-other").mkdir()
    with scratch(tmp_path) as made:
        assert made.is_dir()
        assert other.is_dir()  # it may live
    assert list(tmp_path.iterdir()) == [other]


def test_what_was_moved_away_stays(tmp_path: Path) -> None:
    (tmp_path / "openllm-model").mkdir()  # a model of that name
    with scratch(tmp_path, HIDDEN) as made:
        (made / "x").write_text("x")
        made.rename(tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "openllm-model"]
