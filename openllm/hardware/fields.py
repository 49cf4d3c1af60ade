"""Fields of a config.json, by the several names that they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text_fields(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of the text model, where the model has other parts beside it."""
    for name in ("text_config", "llm_config", "language_config", "thinker_config"):
        text = config.get(name)
        if isinstance(text, Mapping):
            return text_fields({**config, name: None, **text})
    return config


def first(fields: Mapping[str, Any], *names: str) -> int:
    """The first of `names` that is a whole number; 0 where none is."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0


def flag(fields: Mapping[str, Any], name: str) -> bool:
    """Whether `name` is said to be true."""
    return fields.get(name) is True


def names_in(fields: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; empty where `name` is none."""
    value = fields.get(name)
    listed = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return list(value) if listed and value else []


def numbers_in(fields: Mapping[str, Any], name: str) -> list[int]:
    """A list of whole numbers; empty where `name` is none."""
    value = fields.get(name)
    listed = isinstance(value, list) and all(isinstance(item, int) for item in value)
    return list(value) if listed and value else []
