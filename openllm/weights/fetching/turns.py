"""One process fetches a model, the others wait and show how far that one is."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openllm.weights.downloads import Download
from openllm.weights.scratch import NO_LOCKS

logger = logging.getLogger(__name__)

_PAUSE = 0.1  # seconds between two looks at whose turn it is
_SHARED_SECONDS = 0.2  # between two notes of how far the work is
_LENGTH = 64  # bytes of such a note, always written whole
# No lock: a cache that is only read, or a file system without them. Then all work.
_NO_TURNS = {
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EEXIST),
    *(errno.ENOSPC, errno.EDQUOT),  # the download says it
    *NO_LOCKS,
}


class Turn:
    """What whoever has the turn says to those who wait."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._said = 0.0

    def share(self, done: int, total: int) -> None:
        """`done` of `total` bytes are here; called often, written now and then."""
        now = time.monotonic()
        if self._descriptor is None or now - self._said < _SHARED_SECONDS:
            return
        self._said = now
        os.pwrite(self._descriptor, f"{done} {total}".ljust(_LENGTH).encode(), 0)


@contextmanager
def turn(path: Path, name: str) -> Iterator[Turn]:
    """Wait until no other process has the turn at the lock file `path`, then have it.

    The kernel gives it back whenever the process ends. `name` is what is fetched. Errors: OSError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o664)
    except OSError as error:
        if error.errno not in _NO_TURNS:
            raise
        yield Turn(None)
        return
    try:
        _wait(descriptor, name)
        yield Turn(descriptor)
    finally:
        os.close(descriptor)


def _wait(descriptor: int, name: str) -> None:
    shown = Download(f"{name}, in another process")
    waits = told = False
    while not _take(descriptor):
        if not waits:
            logger.info("Another process fetches %s: waiting for it.", name)
        waits = True
        done, total = _read(descriptor)
        if total:
            shown.count(done, total)
            if not told:
                shown.tell()
            told = True
        time.sleep(_PAUSE)
    shown.end()
    os.ftruncate(descriptor, 0)


def _take(descriptor: int) -> bool:
    """Whether the turn is ours now; also where nobody can have one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_TURNS:
            raise
    return True


def _read(descriptor: int) -> tuple[int, int]:
    """Bytes that are here and all of them; 0, 0 where nothing is said yet."""
    words = os.pread(descriptor, _LENGTH, 0).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)
