"""What downloads that were killed have left in the Hub's cache."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from openllm.weights.fetching.blobs import ASIDE
from openllm.weights.fetching.parts import DATA, PARTS

_HALF = ".incomplete"  # the Hub client's own, which nobody ever resumes


def sweep(storage: Path) -> None:
    """Remove from a repository's directory what no process writes and none will go on with; in a
    cache that is only read it stays.
    """
    for path in halves(storage):
        with contextlib.suppress(OSError):
            path.unlink()


def halves(storage: Path) -> Iterator[Path]:
    """The client's half files that no process writes; parts and damaged copies of files that are
    here whole.
    """
    blobs = storage / "blobs"
    for path in sorted(blobs.glob(f"*{_HALF}")):
        lock = f"{path.name.partition('.')[0]}.lock"
        if _is_free(storage.parent / ".locks" / storage.name / lock):
            yield path
    for ending in (DATA, PARTS, ASIDE):
        for path in sorted(blobs.glob(f"*{ending}")):
            if path.with_name(path.name.removesuffix(ending)).exists():
                yield path


def parted(cache: Path) -> Iterator[Path]:
    """Parts of files that were begun, in the whole cache: the next download goes on with them."""
    for ending in (DATA, PARTS):
        yield from sorted(cache.glob(f"models--*/blobs/*{ending}"))


def _is_free(lock: Path) -> bool:
    """Whether no process holds the client's lock of a file."""
    try:
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:  # somebody holds it, or it cannot be told
        return False
    return True
