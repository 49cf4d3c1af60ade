"""Expressions of the values that a JSON schema allows, where they are not written as JSON.

They do not keep a value to all that a schema may say of it: see `openllm.answer.unkept`.
"""

from __future__ import annotations

from typing import Protocol

from openllm.answer.grammar import (
    Rules,
    between_times,
    either,
    literal,
    optional,
    repeated,
    sequence,
)
from openllm.answer.values import Schema, kinds, lengths, resolved

_DEEPEST = 16  # schemas within each other; below that any value is allowed


class Notation(Protocol):
    """How a format writes values: lists and objects in brackets, the rest as told here."""

    @property
    def between(self) -> str:
        """What stands between two of a list or an object."""

    def written(self, value: object) -> str:
        """A value as it is written."""

    def text(self, rules: Rules, least: int, most: int | None) -> str:
        """The expression of any text that has between `least` and `most` letters."""

    def key(self, name: str) -> str:
        """What stands before a value in an object."""


class Values:
    """The expressions of values within one schema, `root`."""

    def __init__(self, rules: Rules, notation: Notation, root: Schema) -> None:
        self._rules = rules
        self._notation = notation
        self._root = root
        self._between = literal(notation.between)

    def of(self, schema: object, depth: int = 0) -> str:
        """A value that a schema allows."""
        own = resolved(schema, self._root)
        values = [own["const"]] if "const" in own else own.get("enum")
        if isinstance(values, list) and values:
            return either(literal(self._notation.written(value)) for value in values)
        inner = own.get("anyOf") or own.get("oneOf")
        if isinstance(inner, list) and inner and depth < _DEEPEST:
            return either(self.of(item, depth + 1) for item in inner)
        allowed = kinds(own, self._root)
        if not allowed or depth >= _DEEPEST:
            return self._any()
        return either(self._of_kind(kind, own, depth) for kind in sorted(allowed))

    def mapping(self, schema: Schema, depth: int = 0) -> str:
        """An object of the schema's properties."""
        needed = schema.get("required") or ()
        items = [
            (self._pair(name, own, depth), name in needed)
            for name, own in (schema.get("properties") or {}).items()
        ]
        return sequence('"{"', self._rules.listed(items, self._between), '"}"')

    def _pair(self, name: str, schema: object, depth: int) -> str:
        return sequence(literal(self._notation.key(name)), self.of(schema, depth + 1))

    def _of_kind(self, kind: str, schema: Schema, depth: int) -> str:
        if kind == "string":
            return self._notation.text(self._rules, *lengths(schema, "Length"))
        if kind in ("boolean", "null"):
            values = (True, False) if kind == "boolean" else (None,)
            return either(literal(self._notation.written(value)) for value in values)
        if kind == "array":
            item = self.of(schema.get("items"), depth + 1)
            return sequence('"["', self._items(item, *lengths(schema, "Items")), '"]"')
        if kind != "object":
            return self._rules.json({**schema, "type": kind})
        if not schema.get("properties") and schema.get("additionalProperties") is not False:
            return self._any_object()
        return self.mapping(schema, depth)

    def _items(self, item: str, least: int, most: int | None) -> str:
        if most == 0:
            return '""'
        more = between_times(max(least - 1, 0), None if most is None else most - 1)
        items = sequence(item, f"({self._between} {item}){more}")
        return items if least else optional(items)

    def _any(self) -> str:
        self._any_object()
        return "any_value"

    def _any_object(self) -> str:
        """Any object; its rule and that of any value refer to each other."""
        define, between = self._rules.define, self._between
        if not self._rules.has("any_object"):
            plain = [self._of_kind(kind, {}, 0) for kind in ("string", "number", "boolean", "null")]
            before, after = self._notation.key("k").split("k")
            key = sequence(literal(before), "[a-zA-Z_] [a-zA-Z0-9_]*", literal(after))
            pair = define("any_pair", sequence(key, "any_value"))
            listed = sequence('"["', optional(repeated("any_value", True, between)), '"]"')
            define("any_value", either((*plain, listed, "any_object")))
            pairs = optional(repeated(pair, True, between))
            define("any_object", sequence('"{"', pairs, '"}"'))
        return "any_object"
