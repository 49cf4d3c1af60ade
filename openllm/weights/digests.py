"""Digests of files that were read before and have not been touched since: kept from one build to
the next.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path

from openllm.weights.aliases import write_whole
from openllm.weights.checkpoint import file_digest, model_files

logger = logging.getLogger(__name__)

KEPT = "openllm-digests.json"  # in BentoML's home
_SMALLEST = 1024**2  # bytes; less is read again sooner than it is looked up
_SETTLED = 100_000_000  # ns; a later write has another time: a clock tick is 10 ms at most
_MOST = 10_000  # files; the ones that were read last

# Device and inode of a file, to what tells whether it was touched: size, times of writing and of
# any change, in ns; and its digest.
_Known = dict[str, tuple[int, int, int, str]]


class Digests:
    """SHA-256 of files, each read once while nobody writes to it.

    A file is known by device and inode, so a hard link to it is known, too. That it was not touched
    is told from its size and times; the time of a change (ctime) cannot be set by programs. What is
    asked to be sure (`openllm verify`) reads everything.
    """

    def __init__(self, home: Path, *, sure: bool = False) -> None:
        """`sure` reads every file once more, whatever is known of it from before."""
        self._path = home / KEPT
        self._known: _Known = {} if sure else _read(self._path)
        self._changed = False

    def of(self, path: Path) -> str:
        """SHA-256 (hexadecimal) of a file, links followed. Errors: OSError."""
        begun, stat = time.time_ns(), path.stat()
        key, seen = _key(stat), _seen(stat)
        known = self._known.get(key)
        if known is not None and known[:3] == seen:
            return known[3]
        digest = file_digest(path)
        if stat.st_size >= _SMALLEST and stat.st_mtime_ns < begun - _SETTLED:
            self._known.pop(key, None)  # to the end: what was read last stays longest
            self._known[key] = (*seen, digest)
            self._changed = True
        return digest

    def of_directory(self, directory: Path) -> dict[str, str]:
        """That of each of a model's files, by its name in `directory`, sorted. Errors: OSError."""
        return {inner.as_posix(): self.of(directory / inner) for inner in model_files(directory)}

    def moved(self, source: Path, before: os.stat_result, target: Path) -> None:
        """`target` was made of `source`, by a link or a copy, which was as `before` when that
        began: what was known of one is known of the other. Errors: OSError.
        """
        known = self._known.get(_key(before))
        now = source.stat()
        untouched = (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        if known is None or known[:3] != _seen(before) or not untouched:
            return
        for stat in (now, target.stat()):  # a link sets the time of a change
            self._known[_key(stat)] = (*_seen(stat), known[3])
        self._changed = True

    def keep(self) -> None:
        """Write them down for the next process; where that fails, it reads the files again."""
        if not self._changed:
            return
        last = dict(list({**_read(self._path), **self._known}.items())[-_MOST:])
        try:
            write_whole(self._path, json.dumps(last))
        except OSError as error:
            logger.info("The digests cannot be kept: %s.", error.strerror)
        self._changed = False


def _key(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}"


def _seen(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _read(path: Path) -> _Known:
    try:
        data = json.loads(path.read_bytes())
        return {
            str(key): (int(size), int(written), int(changed), str(digest))
            for key, (size, written, changed, digest) in data.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
