"""Directories of one process: gone with it, however it ends."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from openllm.weights.temporary import PREFIX, Temporary

HOLD = """
import sys
from openllm.weights.temporary import Temporary
made = Temporary()
(made.path / "half").write_text("x")
print(made.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary directory."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_a_process_leaves_nothing_or_the_next_one_removes_it(place: Path, killed: bool) -> None:
    (foreign := place / "openllm-of-another-kind").mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD], **pipes) as child:  # type: ignore[call-overload]
        theirs = Path(child.stdout.readline().strip())
        assert theirs.parent == place
        assert theirs.stat().st_mode & 0o777 == 0o700
        with Temporary():
            assert (theirs / "half").exists()  # it lives
        if killed:
            child.kill()
        child.stdin.close()
        child.wait()
        assert theirs.exists() is killed
        with Temporary() as ours:
            assert sorted(place.iterdir()) == sorted([foreign, ours])
    assert list(place.iterdir()) == [foreign]


def test_one_that_nobody_has_any_more_is_gone(place: Path) -> None:
    made = Temporary()
    path = made.path
    assert path.name.startswith(PREFIX)
    made.close()
    made.close()
    assert not path.exists()
    lost = Temporary().path
    gc.collect()
    assert not lost.exists()
