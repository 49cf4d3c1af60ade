"""JSON values that a schema lists: when two are the same, how one is written, and whether the rest
of what is said of it allows it.
"""

from __future__ import annotations

import json
from decimal import Decimal

_KINDS = {bool: "boolean", type(None): "null", str: "string", list: "array", dict: "object"}


def kind(value: object) -> str:
    """A JSON type; numbers are `integer`, or `fraction` where they are not whole."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return "integer" if value == int(value) else "fraction"
    return _KINDS[type(value)]


def same_key(value: object) -> object:
    """What is equal for values that JSON Schema calls equal: 1 and 1.0, but not 1 and true."""
    if isinstance(value, dict):
        return "object", frozenset((name, same_key(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(map(same_key, value))
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return type(value).__name__, value
    return "number", Decimal(value)


def written(value: object) -> str:
    """The value as JSON, with spaces where the grammars have them."""
    if isinstance(value, dict):
        pairs = (f"{_text(name)}: {written(item)}" for name, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Decimal):
        return str(value)
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
