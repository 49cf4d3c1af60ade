"""Variants, found by being in their folder or by an entry point of an installed distribution; and
the known words nearest to a mistyped one.

A group's name is that of its entry points. What such an entry names is a module (or package) that
exports what the folder's own modules export; nothing is imported to list the names.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from openllm.errors import BrokenExtension

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
LONGEST = 128  # characters of a word that is compared with others, which takes their product


class Group(NamedTuple):
    """Where openllm's own variants of one kind are. `mark` is the file that makes a package there
    one of them; "": no package is. `modules`: whether a single file can be one.
    """

    kind: str  # in messages
    package: str
    mark: str = "__init__.py"
    modules: bool = True


GROUPS: Mapping[str, Group] = {
    "openllm.families": Group("family", "openllm.models.families"),
    "openllm.backends": Group("backend", "openllm.backends", mark="facts.py", modules=False),
    "openllm.protocols": Group("protocol", "openllm.protocols"),
    "openllm.commands": Group("command", "openllm.cli.commands"),
    "openllm.tools": Group("tool format", "openllm.answer.tools"),
    "openllm.reasoning": Group("reasoning format", "openllm.answer.reasoning"),
}


class Variant(NamedTuple):
    """One variant, not imported."""

    group: str
    name: str
    module: str
    distribution: str | None = None  # which brings it; None: openllm

    @property
    def origin(self) -> str:
        """How messages call it: "The backend 'parrot' of openllm-parrot"."""
        return f"The {GROUPS[self.group].kind} {self.name!r} of {self.distribution or 'openllm'}"


@cache
def variants(group: str) -> Mapping[str, Variant]:
    """The variants of `group` by name, sorted. openllm's own go before those of another
    distribution that have their name, and of several distributions the first in the alphabet.
    """
    found = {name: Variant(group, name, module) for name, module in _own(GROUPS[group])}
    for variant in _foreign(group):
        kept = found.setdefault(variant.name, variant)
        if kept is not variant:
            _log_once(
                f"{variant.origin} is not used: {kept.distribution or 'openllm'} has one of that"
                " name."
            )
    return MappingProxyType(dict(sorted(found.items())))


def load(variant: Variant, read: Callable[[Variant, ModuleType], T], part: str = "") -> T:
    """What `read` takes from the variant's module, or from its submodule `part`.

    Errors: BrokenExtension, one line, for whatever goes wrong in another distribution's.
    """
    name = f"{variant.module}.{part}" if part else variant.module
    if variant.distribution is None:
        return read(variant, importlib.import_module(name))
    try:
        return read(variant, importlib.import_module(name))
    except Exception as error:  # whatever it is, it is not ours
        raise BrokenExtension(
            f"{variant.origin} cannot be loaded: {_said(error)}.",
            hint=f"Update or uninstall {variant.distribution}.",
        ) from error


def load_each(
    found: Iterable[Variant], read: Callable[[Variant, ModuleType], T], part: str = ""
) -> list[T]:
    """`load` for all that can be loaded; the log gets one line for each one that cannot."""
    loaded: list[T] = []
    for variant in found:
        try:
            loaded.append(load(variant, read, part))
        except BrokenExtension as error:
            _log_once(str(error))
    return loaded


def source_file(variant: Variant) -> Path | None:
    """The file of the variant's module, found without importing it; None where there is none."""
    top, *rest = variant.module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *rest)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return path
    return None


def load_module(package: str, name: str) -> ModuleType:
    """Import `package.name`."""
    return importlib.import_module(f"{package}.{name}")


def near(word: str, known: Iterable[str], most: int = 2, cutoff: float = 0.6) -> list[str]:
    """Up to `most` of the `known` words that are like `word`, the likest first. `cutoff` is how
    like they must be: 0 takes any word, 1 only the same one.
    """
    import difflib  # for the one who mistyped only

    return difflib.get_close_matches(word[:LONGEST], list(known), most, cutoff)


def did_you_mean(word: str, known: Iterable[str], most: int = 2, cutoff: float = 0.6) -> str | None:
    """The hint that names the nearest of the `known` words; None where nothing is near."""
    found = near(word, known, most, cutoff)
    return f"Did you mean {' or '.join(found)}?" if found else None


def _own(group: Group) -> list[tuple[str, str]]:
    """Names and modules of what is in the group's folder."""
    folders = importlib.import_module(group.package).__path__
    entries = [entry for folder in folders for entry in Path(folder).iterdir()]
    names = [entry.stem for entry in entries if _is_variant(entry, group)]
    return [(name, f"{group.package}.{name}") for name in names]


def _is_variant(entry: Path, group: Group) -> bool:
    if entry.name.startswith("_") or not entry.stem.isidentifier():
        return False
    if entry.suffix == ".py":
        return group.modules
    return bool(group.mark) and (entry / group.mark).is_file()


def _foreign(group: str) -> list[Variant]:
    """What installed distributions bring, in the order of their names; a name's hyphens are
    underscores.
    """
    return [
        Variant(group, entry.name.replace("-", "_"), entry.value, distribution)
        for distribution, entries in sorted(_entry_points().items())
        for entry in sorted(entries, key=lambda entry: entry.name)
        if entry.group == group
    ]


@cache
def _entry_points() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Those of our groups by the name of their distribution."""
    if not _mentioned():
        return {}
    from importlib.metadata import distributions

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for distribution in distributions():
        ours = tuple(entry for entry in distribution.entry_points if entry.group in GROUPS)
        if ours:  # of two with one name, the first on the path is the one that is imported
            found.setdefault(distribution.name, ours)
    return found


def _mentioned() -> bool:
    """Whether anything on the path may have such entry points. A look into the files takes a tenth
    of the time of importlib.metadata, and most have installed nothing.
    """
    for folder in map(Path, sys.path):
        if folder.is_file():  # an archive, which importlib.metadata reads too
            return True
        for file in folder.glob("*.*-info/entry_points.txt"):
            with suppress(OSError):
                if b"[openllm." in file.read_bytes():
                    return True
    return False


@cache
def _log_once(line: str) -> None:
    import logging  # few have anything to say

    logging.getLogger("openllm").warning(line)


def _said(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text.rstrip(".: ")
