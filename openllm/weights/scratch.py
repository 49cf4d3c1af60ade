"""Directories of work that is not finished: each is its process's while that lives, and what one
that was killed has left is removed by the next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "openllm-"
HIDDEN = f".{PREFIX}"  # where names are those of models, too: none of theirs begins with a dot


@contextmanager
def scratch(parent: Path, prefix: str = PREFIX) -> Iterator[Path]:
    """An empty directory in `parent`, which exists; gone afterwards, whatever happens. Errors:
    OSError.
    """
    with _locked(parent):  # nobody takes a directory that is not locked yet for an abandoned one
        for path in abandoned(parent, prefix):
            shutil.rmtree(path, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        held = _hold(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(held)


def abandoned(parent: Path, prefix: str = PREFIX) -> list[Path]:
    """Those in `parent` whose process has ended, sorted. Errors: OSError."""
    found = (path for path in parent.glob(f"{prefix}*") if path.is_dir() and not path.is_symlink())
    return sorted(path for path in found if not _is_held(path))


def _hold(directory: Path) -> int:
    """Lock it until the descriptor is closed, or the process ends."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _is_held(directory: Path) -> bool:
    with suppress(FileNotFoundError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = _hold(directory)
    try:
        yield
    finally:
        os.close(descriptor)
