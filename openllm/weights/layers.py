"""Which of a model's layers an adapter means, whatever names stand around them."""

from __future__ import annotations

from collections.abc import Iterable

# Names around the layers of a text model: a model that sees pictures has more of them than its text
# part alone.
_OUTER = frozenset({"base_model", "model", "language_model", "text_model", "transformer"})


def find_layers(modules: Iterable[str], known: Iterable[str]) -> dict[str, str | None]:
    """Which of the `known` layers an adapter means by each of `modules`: the one called so, else
    the one that differs in outer names alone, such as that of a text model within one that sees
    pictures. None where there is none, or more than one.
    """
    layers = frozenset(known)
    by_inner: dict[str, list[str]] = {}
    for name in layers:
        by_inner.setdefault(_inner(name), []).append(name)
    found: dict[str, str | None] = {}
    for module in modules:
        alike = by_inner.get(_inner(module), [])
        only = alike[0] if len(alike) == 1 else None
        found[module] = module if module in layers else only
    return found


def _inner(module: str) -> str:
    """A layer's path without the names of what stands around all layers."""
    parts = module.split(".")
    while len(parts) > 1 and parts[0] in _OUTER:
        parts = parts[1:]
    return ".".join(parts)
