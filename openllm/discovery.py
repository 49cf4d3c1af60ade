"""Names of a package's modules without importing them, and one of them loaded by its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


def module_names(package: str) -> list[str]:
    """The public module names of `package`, sorted; the package itself must be importable, its
    modules need not be.
    """
    names = set()
    entries = [
        entry
        for path in importlib.import_module(package).__path__
        for entry in Path(path).iterdir()
    ]
    for entry in entries:
        name = entry.name.removesuffix(".py")
        if (
            (name != entry.name or entry.is_dir())
            and not name.startswith("_")
            and name.isidentifier()
        ):
            names.add(name)
    return sorted(names)


def load_module(package: str, name: str) -> ModuleType:
    """Import `package.name`."""
    return importlib.import_module(f"{package}.{name}")
