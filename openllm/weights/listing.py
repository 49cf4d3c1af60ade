"""Every path below a directory: what it is, what it holds, and who may do what with it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import attrs

from openllm.weights.checkpoint import file_digest

_TEXTS = attrs.validators.deep_mapping(
    attrs.validators.instance_of(str), attrs.validators.instance_of(str)
)
_KINDS = {"-": "file", "d": "directory", "l": "link"}
UNREADABLE = ""  # stands for the digest of a file that cannot be read: no file has it


@attrs.frozen
class Listing:
    """Paths by their names below the directory, which they climb out of never."""

    files: Mapping[str, str] = attrs.field(factory=dict, validator=_TEXTS)  # SHA-256, hexadecimal
    modes: Mapping[str, str] = attrs.field(factory=dict, validator=_TEXTS)  # as `ls -l` has them
    links: Mapping[str, str] = attrs.field(factory=dict, validator=_TEXTS)  # where each leads

    @classmethod
    def of(cls, root: Path, known: Mapping[str, str] | None = None) -> Self:
        """Look at everything below `root`; links are not followed, and what is no file is not
        opened. `known` are digests of files that were read already. Errors: OSError.
        """
        files: dict[str, str] = {}
        modes: dict[str, str] = {}
        links: dict[str, str] = {}
        for path in paths_below(root):
            name = path.relative_to(root).as_posix()
            mode = path.lstat().st_mode
            modes[name] = stat.filemode(mode)
            if stat.S_ISLNK(mode):
                links[name] = str(path.readlink())
            elif stat.S_ISREG(mode):
                files[name] = (known or {}).get(name) or _digest(path)
        return cls(files, modes, links)

    def without(self, *tops: str) -> Self:
        """The same without these names and all that is below them."""

        def stays(name: str) -> bool:
            return not any(name == top or name.startswith(f"{top}/") for top in tops)

        return attrs.evolve(
            self,
            **{
                field: {name: value for name, value in part.items() if stays(name)}
                for field, part in attrs.asdict(self).items()
            },
        )


def paths_below(root: Path) -> Iterator[Path]:
    """Every path below a directory, hidden ones too, in order. Errors: OSError."""
    with os.scandir(root) as found:
        inner = sorted(found, key=lambda entry: entry.name)
    for entry in inner:
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from paths_below(Path(entry.path))


def differences(
    wanted: Listing, found: Listing, prefix: str = "", *, fewer_rights: bool = False
) -> Iterator[str]:
    """One sentence per path that is not as `wanted` has it. `fewer_rights` lets a path be readable
    or writable by fewer than there.
    """
    for name in sorted({*wanted.modes, *found.modes}):
        path = f"{prefix}{name}"
        if name not in found.modes:
            yield f"{path} is missing."
        elif name not in wanted.modes:
            yield f"{path} was added."
        else:
            yield from _changes(wanted, found, name, path, fewer_rights)


def _changes(
    wanted: Listing, found: Listing, name: str, path: str, fewer_rights: bool
) -> Iterator[str]:
    before, now = wanted.modes[name], found.modes[name]
    if before[:1] != now[:1]:
        kind = _KINDS.get(now[:1], "special file")
        yield f"{path} is a {kind} now, and was a {_KINDS.get(before[:1], 'special file')}."
    elif wanted.links.get(name) != found.links.get(name):
        yield f"{path} leads somewhere else."
    elif found.files.get(name) == UNREADABLE:
        yield f"{path} cannot be read."
    elif wanted.files.get(name) != found.files.get(name):
        yield f"{path} was changed."
    elif before != now and not (fewer_rights and _within(now, before)):
        yield f"{path} has the mode {now[1:]}, and had {before[1:]}."


def _within(mode: str, other: str) -> bool:
    """Whether `mode` gives nobody a right that `other` does not give."""
    return all(right in ("-", given) for right, given in zip(mode[1:], other[1:], strict=True))


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except PermissionError:
        return UNREADABLE
