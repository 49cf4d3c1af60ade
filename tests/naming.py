"""Dotted names, as prose has them, looked up in the code."""

from __future__ import annotations

import importlib


def is_there(name: str) -> bool:
    """Whether `name` is a module, or something reached through one by attributes."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError as error:
            if error.name and not error.name.startswith(parts[0]):
                raise
            continue
        for part in parts[size:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
