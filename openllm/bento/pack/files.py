"""Big files brought into a directory at the least cost: a clone or a hard link where the disk
allows, else one copy.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import attrs

from openllm.config.sizes import readable_size
from openllm.errors import BuildError

# Below this a file is copied: people edit such files in place, and a link would change with them.
LINK_FROM = 64 * 1024
_FICLONE = 0x40049409  # <linux/fs.h>: share the blocks of another file, copy-on-write
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@attrs.frozen
class Placement:
    """What bringing files to their place took, in bytes."""

    shared: int = 0  # linked or cloned: no room taken
    copied: int = 0

    def __add__(self, other: Placement) -> Placement:
        return Placement(self.shared + other.shared, self.copied + other.copied)


def place(source: Path, target: Path, *, link: bool = True) -> Placement:
    """Make `target` hold what `source` holds; links are followed to the real file. Without `link`
    the target is a file of its own, whose mode can be changed. Errors: OSError.
    """
    real = source.resolve(strict=True)
    size = real.stat().st_size
    target.parent.mkdir(parents=True, exist_ok=True)
    if size >= LINK_FROM and (_clone(real, target) or (link and _link(real, target))):
        return Placement(shared=size)
    shutil.copyfile(real, target)
    return Placement(copied=size)


def bytes_to_copy(sources: Iterable[Path], directory: Path) -> int:
    """How many bytes `place` will have to write below `directory`, which exists; an upper bound per
    file system.
    """
    device = directory.stat().st_dev
    found = (source.resolve(strict=True).stat() for source in sources)
    return sum(stat.st_size for stat in found if stat.st_size < LINK_FROM or stat.st_dev != device)


def require_room(needed: int, directory: Path, what: str) -> None:
    """Refuse to begin what the disk cannot hold. Errors: BuildError."""
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise BuildError(
            f"{what} needs {readable_size(needed)} on the disk, {readable_size(free)} are free.",
            hint=(
                "Free some space, or point BENTOML_HOME at the disk that holds the weights: then"
                " nothing is copied."
            ),
        )


def explain(error: OSError, what: str) -> BuildError:
    """The one line for a disk that would not take `what`."""
    if error.errno in _NO_ROOM:
        hint = "Free some space, or point BENTOML_HOME at another disk."
        return BuildError(f"{what}: the disk is full; nothing was kept.", hint=hint)
    reason = error.strerror or type(error).__name__
    place = f"{error.filename} cannot be made or written: " if error.filename else ""
    hint = "Point BENTOML_HOME at a directory that can be written."
    return BuildError(f"{what}: {place}{reason}.", hint=hint)


def size_on_disk(*parts: Path) -> int:
    """Bytes of the files in `parts`, which are directories."""
    files = (path for part in parts for path in part.rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())


def _clone(source: Path, target: Path) -> bool:
    """Share the blocks of `source` copy-on-write: later changes to it do not reach the store."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        if error.errno in _NO_ROOM:
            raise
        return False
    return True


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        return False  # another file system, too many links, or links forbidden here
    return True
