"""What lies in BentoML's stores on this disk, read from their directories, without importing BentoML."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import attrs

MODELS = "models"
BENTOS = "bentos"
# A part of a tag; it begins with a letter or digit, so that no tag leads out of the store.
_PART = re.compile(r"[a-z0-9][-._a-z0-9]*")


@attrs.frozen
class StoredModel:
    """One model of the store; `size` in bytes."""

    tag: str  # name:version
    path: Path
    size: int
    architecture: str | None


def stored_models(home: Path) -> list[StoredModel]:
    """All language models in the store below `home`, by tag. Empty where there is no store."""
    found = []
    for name in _directories(home / MODELS):
        for version in _directories(name):
            if (version / "config.json").is_file():
                size = sum(entry.stat().st_size for entry in version.rglob("*") if entry.is_file())
                found.append(StoredModel(f"{name.name}:{version.name}", version, size, read_architecture(version)))
    return found


def find_stored(home: Path, kind: str, tag: str) -> Path | None:
    """The directory of `name`, `name:latest` or `name:version` in the store `kind` (MODELS, BENTOS); None if absent."""
    name, _, version = tag.lower().partition(":")
    if not _PART.fullmatch(name) or not _PART.fullmatch(version or "latest"):
        return None
    folder = home / kind / name
    if version in ("", "latest"):
        try:
            version = (folder / "latest").read_text(encoding="utf-8").strip()
        except OSError:
            return None
        if not _PART.fullmatch(version):
            return None
    return folder / version if (folder / version).is_dir() else None


def read_architecture(directory: Path) -> str | None:
    """The first architecture that config.json names; None where nothing can be read (loading explains why)."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    names = config.get("architectures") if isinstance(config, dict) else None
    return str(names[0]) if isinstance(names, list) and names else None


def _directories(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
