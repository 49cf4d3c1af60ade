"""Directories of work that is not finished: each is its process's while that lives, and what one
that was killed has left is removed by the next.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "openllm-"
HIDDEN = f".{PREFIX}"  # where names are those of models, too: none of theirs begins with a dot
# What flock(2) answers on file systems without it; NFS locks no directories (EBADF).
NO_LOCKS = {errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}


@contextmanager
def scratch(parent: Path, prefix: str = PREFIX) -> Iterator[Path]:
    """An empty directory in `parent`, which exists; gone afterwards, whatever happens. Errors:
    OSError.
    """
    import shutil  # both are slow to load, and listing a store makes no directories
    import tempfile

    with _locked(parent):  # nobody takes a directory that is not locked yet for an abandoned one
        for path in abandoned(parent, prefix):
            shutil.rmtree(path, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        held = hold(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        _close(held)


def abandoned(parent: Path, prefix: str = PREFIX) -> list[Path]:
    """Those in `parent` whose process has ended, sorted; of another user's nothing is known, so
    they are none. Errors: OSError where `parent` cannot be read.
    """
    found = (path for path in parent.glob(f"{prefix}*") if path.is_dir() and not path.is_symlink())
    return sorted(path for path in found if not _is_held(path))


def hold(directory: Path) -> int | None:
    """Lock it until the descriptor is closed, or the process ends; None where the file system does
    not lock directories. There nobody can lock them, and `_is_held` takes all for held. Errors:
    OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in NO_LOCKS:
            raise
        return None
    return descriptor


def _is_held(directory: Path) -> bool:
    descriptor = None
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # somebody holds it, or it cannot be told
        return True
    finally:
        _close(descriptor)
    return False


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = hold(directory)
    try:
        yield
    finally:
        _close(descriptor)
