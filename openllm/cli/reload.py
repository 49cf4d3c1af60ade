"""`start --reload`: runs a command, and runs it again whenever one of the watched files changes."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from openllm.bento.serving.signals import answering
from openllm.cli.output import note

POLL_SECONDS = 0.3
STOP_SECONDS = 30.0  # then the child is killed
# Never the weights: they are big and do not change.
SUFFIXES = {".py", ".yaml", ".json", ".jinja", ".html", ".js", ".css"}


def run_reloading(command: Sequence[str], watched: Sequence[Path]) -> int:
    """Run `command` until SIGINT or SIGTERM; its last exit code. One that ends by itself waits for
    a change.
    """
    stopping = threading.Event()
    with answering(lambda number, frame: stopping.set()):
        while True:
            before = snapshot(watched)
            child = subprocess.Popen(command)
            changed = _wait(child, watched, before, stopping)
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if changed is None:
                return child.returncode
            note(f"{changed.name} changed; starting again.")


def snapshot(watched: Sequence[Path]) -> dict[Path, int]:
    """The watched files, those below watched directories among them, with their times of change."""
    files = [path for path in watched if not path.is_dir()]
    below = (item for path in watched if path.is_dir() for item in path.rglob("*"))
    files += [item for item in below if item.suffix in SUFFIXES]
    return {path: at for path in files if (at := _changed_at(path)) is not None}


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # removed meanwhile
        return None


def _wait(
    child: subprocess.Popen[bytes],
    watched: Sequence[Path],
    before: dict[Path, int],
    stopping: threading.Event,
) -> Path | None:
    """The file that changed; None when it is time to stop."""
    told = False
    while not stopping.wait(POLL_SECONDS):
        now = snapshot(watched)
        for path in now.keys() | before.keys():
            if now.get(path) != before.get(path):
                return path
        if child.poll() is not None and not told:
            told = True
            note(f"Ended with exit code {child.returncode}; waiting for a change.")
    return None
