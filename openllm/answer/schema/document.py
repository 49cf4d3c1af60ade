"""A JSON schema as a document: its schemas by where they stand, what they refer to, and how one is
refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NoReturn
from urllib.parse import unquote

import attrs

from openllm.errors import InvalidRequest

LARGEST_EXPONENT = 400
MOST_NAMED = 2_000  # schemas of one keyword
_MOST_SCHEMAS = 20_000
_UNESCAPED = re.compile("~(?![01])")

Schema = Mapping[str, Any]


class TooLarge(Exception):
    """The schema, or what it becomes, is beyond a bound; says which."""


@attrs.frozen
class Place:
    """A schema, and where it stands. Two are the same where their `key` is."""

    key: str
    pointer: str = attrs.field(eq=False)  # a JSON pointer as a fragment, `#/properties/a`
    schema: Schema | bool = attrs.field(eq=False)
    derived: str = attrs.field(default="", eq=False)  # from which keyword, where it is not written

    def at(self, *steps: str | int) -> str:
        """The pointer of something below."""
        return self.pointer + "".join(f"/{_escaped(str(step))}" for step in steps)

    def below(self, schema: object, *steps: str | int) -> Place:
        """A schema within this one. Errors: InvalidRequest where it is none."""
        pointer = self.at(*steps)
        if not isinstance(schema, dict | bool):
            invalid(pointer, "must be a schema: an object, true or false")
        tail = pointer.removeprefix(self.pointer)
        return Place(self.key + tail, pointer, schema, self.derived)

    def derive(self, name: str, schema: Schema, keyword: str) -> Place:
        """A schema that a keyword of this one comes to."""
        return Place(f"{self.key}\0{name}", self.pointer, schema, self.derived or keyword)

    def has(self, keyword: str) -> bool:
        return isinstance(self.schema, Mapping) and keyword in self.schema

    def get(self, keyword: str) -> Any:
        return self.schema.get(keyword) if isinstance(self.schema, Mapping) else None

    def schemas(self, keyword: str) -> list[Place]:
        """The schemas in a list. Errors: InvalidRequest."""
        found = self.get(keyword)
        if not isinstance(found, list) or not found:
            invalid(self.at(keyword), "must be a list of at least one schema")
        return [self.below(item, keyword, at) for at, item in enumerate(found)]

    def named(self, keyword: str) -> dict[str, Place]:
        """The schemas in an object. Errors: InvalidRequest."""
        found = self.get(keyword)
        if found is None and not self.has(keyword):
            return {}
        if not isinstance(found, dict):
            invalid(self.at(keyword), "must be an object of schemas")
        if len(found) > MOST_NAMED:
            raise TooLarge(f"{self.at(keyword)} has more than {MOST_NAMED} schemas")
        return {name: self.below(item, keyword, name) for name, item in found.items()}

    def names(self, keyword: str) -> list[str]:
        """The texts in a list. Errors: InvalidRequest."""
        found = self.get(keyword)
        if found is None and not self.has(keyword):
            return []
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            invalid(self.at(keyword), "must be a list of names")
        return list(found)

    def count(self, keyword: str) -> int | None:
        """A number of things. Errors: InvalidRequest."""
        found = self.number(keyword)
        if found is not None and (found < 0 or found != found.to_integral_value()):
            invalid(self.at(keyword), "must be a whole number that is not negative")
        return None if found is None else int(found)

    def number(self, keyword: str) -> Decimal | None:
        """Errors: InvalidRequest."""
        if not self.has(keyword):
            return None
        found = self.get(keyword)
        if isinstance(found, bool) or not isinstance(found, int | Decimal):
            invalid(self.at(keyword), "must be a number")
        value = Decimal(found)
        if value and abs(value.adjusted()) > LARGEST_EXPONENT:
            refuse(self, keyword, "is too large or too small a number", "Take another bound.")
        return value


Goal = tuple[Place, ...]  # schemas that a value must all follow


def refuse(place: Place, keyword: str, why: str, hint: str) -> NoReturn:
    """Raise InvalidRequest for a keyword that cannot be kept."""
    if place.derived and keyword == "not":
        keyword = place.derived
    raise InvalidRequest(
        f"The schema cannot be kept: {keyword} at {place.at(keyword)} {why}.",
        hint=hint,
        param="structure",
    )


def invalid(pointer: str, why: str) -> NoReturn:
    """Raise InvalidRequest for what is no JSON schema."""
    raise InvalidRequest(
        f"The schema is no JSON schema: {pointer} {why}.", hint="Correct it.", param="structure"
    )


class Document:
    """One schema with all that is in it."""

    def __init__(self, text: str) -> None:
        """Errors: InvalidRequest for what is no JSON, or no schema; TooLarge."""
        schema = _decoded(text)
        if not isinstance(schema, dict | bool):
            invalid("#", "must be an object, true or false")
        self.root = Place("#", "#", schema)
        self._anchors: dict[str, Place] | None = None
        if '"$id"' in text:
            self._require_one()

    def referred(self, place: Place) -> Place:
        """The schema that `$ref` of this one names. Errors: InvalidRequest."""
        reference = place.get("$ref")
        if not isinstance(reference, str):
            invalid(place.at("$ref"), "must be a text")
        own = self.root.get("$id") or self.root.get("id")
        if isinstance(own, str) and reference.startswith(own.rstrip("#")) and own.rstrip("#"):
            reference = reference.removeprefix(own.rstrip("#")) or "#"
        if not reference.startswith("#"):
            why = "refers to another document, and none is fetched"
            refuse(place, "$ref", why, "Put that schema below $defs and refer to #/$defs/NAME.")
        fragment = unquote(reference[1:])
        if fragment.startswith("/") or not fragment:
            return self._at(place, fragment)
        found = self._anchored().get(fragment)
        if found is None:
            refuse(place, "$ref", "refers to an anchor that is not there", "Correct it.")
        return found

    def _at(self, place: Place, fragment: str) -> Place:
        found: object = self.root.schema
        steps = [step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]]
        if _UNESCAPED.search(fragment):
            refuse(place, "$ref", "has a ~ that escapes nothing", "Write ~0 for ~ and ~1 for /.")
        for step in steps:
            if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            elif isinstance(found, dict) and step in found:
                found = found[step]
            else:
                refuse(place, "$ref", "refers to a schema that is not there", "Correct it.")
        return self.root.below(found, *steps)

    def _anchored(self) -> dict[str, Place]:
        if self._anchors is None:
            self._anchors = {}
            for place in self._walk():
                for keyword in ("$anchor", "$id", "id"):
                    name = place.get(keyword)
                    if isinstance(name, str) and (keyword == "$anchor" or name.startswith("#")):
                        self._anchors.setdefault(name.removeprefix("#"), place)
        return self._anchors

    def _require_one(self) -> None:
        """Refuse what changes the meaning of other schemas. Errors: InvalidRequest, TooLarge."""
        for place in self._walk():
            name = place.get("$id")
            if place is self.root or not isinstance(name, str) or name.startswith("#"):
                continue
            if place.pointer.rpartition("/")[0].endswith(("properties", "$defs", "definitions")):
                why = "makes a document of its own, with references of its own"
                refuse(place, "$id", why, "Leave it out.")

    def _walk(self) -> Iterator[Place]:
        """All objects in the document. Errors: TooLarge."""
        todo: list[tuple[Place, object]] = [(self.root, self.root.schema)]
        count = 0
        while todo:
            place, value = todo.pop()
            count += 1
            if count > _MOST_SCHEMAS:
                raise TooLarge(f"it has more than {_MOST_SCHEMAS} parts")
            if isinstance(value, dict):
                yield place
            for step, item in _items(value):
                if isinstance(item, dict | list):
                    schema = item if isinstance(item, dict) else True
                    todo.append((place.below(schema, step), item))


def _items(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return list(value.items())
    return [(str(at), item) for at, item in enumerate(value)] if isinstance(value, list) else []


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _decoded(text: str) -> object:
    try:
        return json.loads(text, parse_float=fraction, parse_constant=_no_constant)
    except RecursionError:
        invalid("#", "nests too deep")
    except ValueError as error:
        raise InvalidRequest(f"The schema is not JSON: {error}.", param="structure") from None


def fraction(text: str) -> Decimal:
    """A number that JSON writes as a fraction. Errors: ValueError beyond what is counted with."""
    value = Decimal(text)
    if value and abs(value.adjusted()) > LARGEST_EXPONENT:
        raise ValueError(f"{text[:20]} is out of range")
    return value


def _no_constant(constant: str) -> object:
    raise ValueError(f"{constant} is no number")
