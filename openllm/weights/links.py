"""Links in a model's directory: those out of it are followed only where the Hub's cache has put
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from openllm.errors import WeightsError

_BLOBS, _SNAPSHOTS = "blobs", "snapshots"  # in the cache's directory of one repository


def check_links(directory: Path) -> None:
    """Refuse a model's or adapter's directory with a link that leads nowhere, in a circle, or out
    of it: whoever made the directory would have a file of this machine read, packed and shown that
    is none of the model's. A snapshot of the Hub's cache links to the blobs of its own repository.

    Hidden files are passed over, and directories that are links: nothing reads those.
    Errors: WeightsError.
    """
    root = directory.resolve()
    allowed = [root]
    if root.parent.name == _SNAPSHOTS:
        allowed.append(root.parent.parent / _BLOBS)
    for path in _links(directory):
        if not path.exists():  # also for a circle
            raise WeightsError(
                f"{path} is a link to {path.readlink()}, and nothing is there.",
                hint="Mount the whole cache, blobs and snapshots, or copy the directory with"
                " cp -L.",
            )
        real = path.resolve()
        if not any(real.is_relative_to(one) for one in allowed):
            raise WeightsError(
                f"{path} is a link to {path.readlink()}, out of the model's directory.",
                hint="If that file belongs to the model, put it there: cp -L copies a directory"
                " with what its links lead to.",
            )


def _links(directory: Path) -> Iterator[Path]:
    """Links that are no directories, below it, sorted."""
    for folder, inner, names in os.walk(directory):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_symlink():
                yield path
