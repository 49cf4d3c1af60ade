"""A body that notes what is asked of it: the fields of an object, what each may be, and those of
the objects within.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import attrs

from openllm.http.body.fields import Fields

JSONSchema = dict[str, Any]
_INDEX = re.compile(r"\[\d+\]")
_TEXT: JSONSchema = {"type": "string"}


class BodyRead(BaseException):
    """The whole body has been read: its handler is not to go on. It is no Exception, for a handler
    that catches those must not catch it.
    """


@attrs.define
class Notes:
    """What has been asked of one kind of body. Objects are named as errors name them, with `[]` for
    every entry of an array; "" is the body itself.
    """

    objects: dict[str, dict[str, JSONSchema]] = attrs.field(factory=dict)
    # places and names of fields that are handed on, or refused, whatever is in them
    whole: set[tuple[str, str]] = attrs.field(factory=set)

    def add(self, place: str, name: str, schema: JSONSchema) -> None:
        """Note that the object at `place` was asked for `name`. What is asked for in two ways, in
        one request or another, may be either.
        """
        known = self.objects.setdefault(plain(place), {})
        said = known.setdefault(name, schema)
        if not said or not schema:
            known[name] = said or schema  # {} allows anything: there was no more to note
        elif said != schema:
            either = said.get("anyOf", [said])
            known[name] = {"anyOf": [*either, *([schema] if schema not in either else [])]}


class Probe(Fields):
    """Fields that note every reader that is called, and then do what `Fields` do."""

    def __init__(
        self,
        data: Mapping[str, Any],
        notes: Notes,
        prefix: str = "",
        ignored: list[str] | None = None,
        names: dict[str, str] | None = None,
    ) -> None:
        super().__init__(data, prefix, ignored, names)
        self._place = prefix
        self._notes = notes
        self._busy = False  # within a reader, which calls others

    def silent(self, names: frozenset[str]) -> bool:
        """Never: all are to be read."""
        return False

    @contextmanager
    def _noted(self, name: str, schema: JSONSchema) -> Iterator[None]:
        outer = not self._busy
        if outer:
            self._notes.add(self._place, name, schema)
        self._busy = True
        try:
            yield
        finally:
            self._busy = not outer

    def _note_whole(self, name: str) -> None:
        place = plain(self._place)
        if name not in self._notes.objects.get(place, {}):
            self._notes.whole.add((place, name))
            self._notes.add(place, name, {})

    def raw(self, name: str) -> Any:
        with self._noted(name, {}):
            return super().raw(name)

    def peek(self, name: str) -> Any:
        with self._noted(name, {}):
            return super().peek(name)

    def said(self, name: str) -> bool:
        with self._noted(name, {}):
            return super().said(name)

    def present(self, names: Sequence[str]) -> dict[str, Any]:
        for name in names:
            self._note_whole(name)
        return super().present(names)

    def text(
        self, name: str, *, longest: int | None = None, known: Sequence[str] = ()
    ) -> str | None:
        examples: JSONSchema = {"examples": list(known)} if known else {}
        with self._noted(name, _bounded({**_TEXT, **examples}, maxLength=longest)):
            return super().text(name, longest=longest)

    def flag(self, name: str, default: bool = False) -> bool:
        with self._noted(name, {"type": "boolean"}):
            return super().flag(name, default)

    def integer(self, name: str, low: int, high: int) -> int | None:
        with self._noted(name, {"type": "integer", "minimum": low, "maximum": high}):
            return super().integer(name, low, high)

    def mapping(self, name: str, *, most: int | None = None) -> dict[str, Any] | None:
        with self._noted(name, _bounded({"type": "object"}, maxProperties=most)):
            return super().mapping(name, most=most)

    def items(self, name: str, *, most: int | None = None) -> list[Any] | None:
        with self._noted(name, _bounded({"type": "array"}, maxItems=most)):
            return super().items(name, most=most)

    def texts(self, name: str, *, most: int, longest: int | None = None) -> tuple[str, ...] | None:
        one = _bounded(_TEXT, maxLength=longest)
        several = {"type": "array", "items": one, "maxItems": most}
        with self._noted(name, {"anyOf": [one, several]}):
            return super().texts(name, most=most, longest=longest)

    def choice(self, name: str, *allowed: str) -> str | None:
        with self._noted(name, {"type": "string", "enum": list(allowed)}):
            return super().choice(name, *allowed)

    def object(self, name: str) -> Fields | None:
        with self._noted(name, {"type": "object"}):
            return super().object(name)

    def objects(self, name: str, *, most: int) -> list[Fields] | None:
        entries = {"type": "object"}
        with self._noted(name, {"type": "array", "maxItems": most, "items": entries}):
            return super().objects(name, most=most)

    def refuse(self, name: str, hint: str, *harmless: Any) -> None:
        self._note_whole(name)
        super().refuse(name, hint, *harmless)

    def pass_over(self, name: str, hint: str, *harmless: Any) -> None:
        self._note_whole(name)
        super().pass_over(name, hint, *harmless)

    def _inner(self, value: Mapping[str, Any], path: str) -> Fields:
        self._notes.objects.setdefault(plain(path), {})
        return Probe(value, self._notes, str(path), self._ignored, self.names)

    def close(self) -> None:
        super().close()
        if not self._place:
            raise BodyRead


@lru_cache(maxsize=1024)
def plain(path: str) -> str:
    """A path without the places in arrays."""
    return _INDEX.sub("[]", path)


def _bounded(schema: JSONSchema, **bounds: int | None) -> JSONSchema:
    return {**schema, **{name: bound for name, bound in bounds.items() if bound is not None}}
