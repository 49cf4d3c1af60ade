"""`start --reload`: runs a command, and runs it again whenever one of the watched files changes."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openllm.cli.output import note

POLL_SECONDS = 0.3
STOP_SECONDS = 30.0  # then the child is killed
SUFFIXES = {
    ".py",
    ".yaml",
    ".json",
    ".jinja",
    ".html",
    ".js",
    ".css",
}  # never the weights: they are big and do not change


def run_reloading(command: Sequence[str], watched: Sequence[Path]) -> int:
    """Run `command` until SIGINT or SIGTERM; its last exit code. One that ends by itself waits for
    a change.
    """
    stopping = threading.Event()
    with _signals(stopping):
        while True:
            before = snapshot(watched)
            child = subprocess.Popen(command)
            changed = _wait(child, watched, before, stopping)
            _stop(child)
            if changed is None:
                return child.returncode
            note(f"{changed.name} changed; starting again.")


def snapshot(watched: Iterable[Path]) -> dict[Path, int]:
    """The watched files, those below watched directories among them, with their times of change."""
    return {path: stat for path in _files(watched) if (stat := _changed_at(path)) is not None}


def _files(watched: Iterable[Path]) -> Iterator[Path]:
    for path in watched:
        if path.is_dir():
            yield from (item for item in path.rglob("*") if item.suffix in SUFFIXES)
        else:
            yield path


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


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def _signals(stopping: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stopping`."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stopping.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
