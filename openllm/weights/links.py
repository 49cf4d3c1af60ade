"""Links in a model's directory: those out of it are followed only where the Hub's client has put
them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from openllm.errors import WeightsError

_BLOBS, _SNAPSHOTS = "blobs", "snapshots"  # in the cache's directory of one repository
_REPOSITORY = "models--"  # how that directory's name begins
_BLOB = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # a blob's name: SHA-1 of git, or SHA-256
ENVIRONMENT = "pyvenv.cfg"  # marks a virtual environment of Python, which is no part of a model


def check_links(directory: Path) -> None:
    """Refuse a model's or adapter's directory with a link that leads nowhere, in a circle, or out
    of it: whoever made the directory would have a file of this machine read, packed and shown that
    is none of the model's. A snapshot of the Hub's cache links to the blobs of its own repository,
    a directory that the Hub's client filled before its version 0.23 to those of any.

    Hidden files are passed over, virtual environments, directories that are links, and in folders
    below a directory of one's own links to nothing: nothing reads those. Errors: WeightsError.
    """
    root = directory.resolve()
    blobs = _own_blobs(root)
    for path in _links(directory):
        if not path.exists():  # also for a circle
            if blobs is None and path.parent != directory:
                continue
            raise WeightsError(
                f"{path} is a link to {path.readlink()}, and nothing is there.",
                hint="Mount the whole cache, blobs and snapshots, or copy the directory with"
                " cp -L.",
            )
        real = path.resolve()
        if not (real.is_relative_to(root) or _is_blob(real, blobs)):
            raise WeightsError(
                f"{path} is a link to {path.readlink()}, out of the model's directory.",
                hint="If that file belongs to the model, put it there: cp -L copies a directory"
                " with what its links lead to.",
            )


def _own_blobs(root: Path) -> Path | None:
    """Where the files of a snapshot, or of a folder in one, lie; None for any other directory."""
    for parent in root.parents:
        if parent.name == _SNAPSHOTS and (parent.parent / _BLOBS).is_dir():
            return parent.parent / _BLOBS
    return None


def _is_blob(real: Path, blobs: Path | None) -> bool:
    """Whether a file is one of `blobs`, or where these are None, of any repository in a cache."""
    named = _BLOB.fullmatch(real.name) is not None
    if blobs is None:
        folder = real.parent
        return named and folder.name == _BLOBS and folder.parent.name.startswith(_REPOSITORY)
    # `blobs` may be a link to another disk, and with it to anything: then the name must be a blob's
    return real.is_relative_to(blobs) or (named and real.parent == blobs.resolve())


def _links(directory: Path) -> Iterator[Path]:
    """Links that are no directories, below it, sorted."""
    for folder, inner, names in os.walk(directory):
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".") and not Path(folder, name, ENVIRONMENT).is_file()
        )
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_symlink():
                yield path
