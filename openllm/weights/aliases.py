"""Aliases: names of one's own for tags of the store, one small file each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from openllm.config.names import is_alias, is_tag
from openllm.errors import ConfigurationError

ALIASES = "openllm-aliases"  # below BentoML's home: a file for each alias, which holds its tag


def set_alias(name: str, tag: str, home: Path) -> str | None:
    """Let `name` stand for `tag`, which is a full one; the tag that it stood for before. Errors:
    ConfigurationError for what cannot be an alias, OSError.
    """
    if not is_alias(name):
        raise ConfigurationError(
            f"{name!r} cannot be an alias.",
            hint="Use lower-case letters, digits and . _ - between them.",
        )
    before = tag_of(name, home)
    write_whole(home / ALIASES / name, tag)
    return before


def drop_alias(name: str, home: Path) -> None:
    """Errors: ConfigurationError where there is none, OSError."""
    if tag_of(name, home) is None:
        known = ", ".join(read_aliases(home)) or "none"
        raise ConfigurationError(f"There is no alias {name!r}.", hint=f"There are: {known}.")
    (home / ALIASES / name).unlink()


def tag_of(name: str, home: Path) -> str | None:
    """The tag that the alias `name` stands for; None where it is no alias."""
    if not is_alias(name):
        return None
    try:
        tag = (home / ALIASES / name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return tag if is_tag(tag) else None


def read_aliases(home: Path) -> Mapping[str, str]:
    """The tag of each alias, by name, sorted."""
    names = sorted(path.name for path in (home / ALIASES).glob("*"))
    found = {name: tag_of(name, home) for name in names}
    return {name: tag for name, tag in found.items() if tag is not None}


def aliases_by_tag(home: Path) -> Mapping[str, list[str]]:
    """The aliases that stand for a tag, sorted, by the tag."""
    found: dict[str, list[str]] = {}
    for name, tag in read_aliases(home).items():
        found.setdefault(tag, []).append(name)
    return found


def aliases_of(tag: str, home: Path) -> list[str]:
    """The aliases that stand for `tag`, sorted."""
    return aliases_by_tag(home).get(tag, [])


def write_whole(path: Path, text: str) -> None:
    """A small file that is never there by halves, whenever the process is killed. Errors:
    OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.write_text(text, encoding="utf-8")
    half.replace(path)
