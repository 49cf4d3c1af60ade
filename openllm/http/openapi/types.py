"""The types of a request's values as JSON schemas."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import attrs

from openllm.types import RequestOptions, SamplingParams

_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
_KINDS = {"float": {"type": "number"}, "int": {"type": "integer"}, "bool": {"type": "boolean"}}
_LIST = re.compile(r"tuple\[(\w+), \.\.\.\]")


@lru_cache(maxsize=1)
def sampling_types() -> dict[str, dict[str, Any]]:
    """The schema of each field of `SamplingParams` and of `RequestOptions`, by its name there."""
    fields = (*attrs.fields(SamplingParams), *attrs.fields(RequestOptions))
    return {field.name: _schema(str(field.type)) for field in fields}


def _schema(kind: str) -> dict[str, Any]:
    """The JSON schema of a field annotated with `kind`."""
    kind = kind.partition(" |")[0]
    entries = _LIST.fullmatch(kind)
    if entries is not None:
        return {"type": "array", "items": _schema(entries[1])}
    return _KINDS.get(kind, _TEXT if kind == "str" else _OBJECT)
