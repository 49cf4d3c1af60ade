"""Arguments that are not written as JSON: each value bare, of the type that the tool's schema
gives it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from openllm.answer.calls import CallReader, NoCall, Tools
from openllm.answer.grammar import Rules
from openllm.answer.reader import Phrases, Tell, Wait
from openllm.answer.schema.bare import Argument, argument, bare_grammar
from openllm.answer.schema.document import fraction

Schema = Mapping[str, Any]
Write = Callable[[str, str], str]  # the expressions of an argument's name and value to that of both
_ONLY_TEXT = frozenset(("string",))
_MOST_STEPS = 8  # from a schema to what it stands for
# What stands beside a schema's keywords and says nothing of values.
_ANNOTATED = frozenset(
    ("allOf", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly")
)
NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_EVERY = frozenset(NAMES.values())
_PYTHON = ("T", "F", "N", "[", "{")  # with what Python's names, lists and dictionaries begin


def properties(tools: Tools, name: str) -> Mapping[str, Schema]:
    """The schemas of a tool's arguments; none where the tool or they are not known."""
    found = tools.get(name, {}).get("properties")
    return found if isinstance(found, Mapping) else {}


def kinds(schema: object, root: Schema, depth: int = 8) -> frozenset[str]:
    """The JSON types that a schema allows; empty where it does not say."""
    if not isinstance(schema, Mapping) or depth == 0:
        return frozenset()
    own = _types(schema)
    said = [own] if own else []
    said += [kinds(part, root, depth - 1) for part in _all_of(schema, root)]
    for keyword in ("anyOf", "oneOf"):
        inner = schema.get(keyword)
        if isinstance(inner, list):
            found = [kinds(item, root, depth - 1) for item in inner]
            said.append(frozenset().union(*found) if all(found) else frozenset())
    return reduce(_both, filter(None, said), frozenset())


def _types(schema: Schema) -> frozenset[str]:
    """What `type`, or a list of values, says itself."""
    said = schema.get("type")
    if isinstance(said, str | list):
        nullable = ["null"] if schema.get("nullable") is True else []
        return frozenset((*([said] if isinstance(said, str) else said), *nullable))
    if "const" in schema or isinstance(schema.get("enum"), list):
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return frozenset(NAMES.get(type(value), "") for value in values)
    return frozenset()


def _all_of(schema: Schema, root: Schema) -> list[object]:
    """The schemas that must be followed, too."""
    referred: list[object] = [resolved(schema, root)] if "$ref" in schema else []
    inner = schema.get("allOf")
    return referred + (inner if isinstance(inner, list) else [])


def _both(first: frozenset[str], second: frozenset[str]) -> frozenset[str]:
    """The types that two schemas allow; an integer is a number."""
    if not first or not second:
        return first | second
    grown = (said | {"integer"} if "number" in said else said for said in (first, second))
    return frozenset.intersection(*grown)


def resolved(schema: object, root: Schema) -> Schema:
    """The schema, or the one within `root` that it stands for; empty where that is not there."""
    for _ in range(_MOST_STEPS):
        following = stands_for(schema, root)
        if following is None:
            return schema if isinstance(schema, Mapping) else {}
        schema = following
    return {}


def stands_for(schema: object, root: Schema) -> object | None:
    """What a schema refers to, or is `allOf` alone, as some write a reference that they say more
    of; None where it stands for itself.
    """
    if not isinstance(schema, Mapping):
        return None
    reference, inner = schema.get("$ref"), schema.get("allOf")
    if isinstance(reference, str):
        return _referred(reference, root)
    alone = isinstance(inner, list) and len(inner) == 1 and schema.keys() <= _ANNOTATED
    only: object = inner[0] if alone and inner else None
    return only


def _referred(reference: str, root: Schema) -> object:
    found: object = root if reference.startswith("#") else None
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return {} if found is None else found


def lengths(schema: Schema, of: str) -> tuple[int, int | None]:
    """The bounds `minX` and `maxX` of a schema, where `of` is X; no `maxX` is None."""
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    return least if isinstance(least, int) else 0, most if isinstance(most, int) else None


def as_json(text: str, allowed: frozenset[str], argument: Argument | None = None) -> str:
    """A bare value as JSON: what it says if the `argument` allows that, or else if its type is
    allowed (any, where nothing is said); else a string.
    """
    bare = text.strip()
    written = None if argument is None else _allowed(text, bare, argument)
    if written is not None:
        return written
    try:
        value = json.loads(bare, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _python_as_json(bare, allowed) or quoted(text)
    kind = NAMES[type(value)]
    fits = kind in allowed or (kind == "integer" and "number" in allowed) or not allowed
    if kind == "string":
        return quoted(text) if "string" in allowed or not allowed else bare
    return bare if fits or "string" not in allowed else quoted(text)


def _allowed(text: str, bare: str, argument: Argument) -> str | None:
    """The first of what a bare value may say that the argument allows, as JSON: a text in quotes
    has them only where it may be nothing else.
    """
    readings = [bare]
    if argument.lists(text):
        readings.append(quoted(text))
    python = _python_as_json(bare, _EVERY)
    readings += [*([python] if python else []), quoted(text)]
    for written in readings:
        try:
            value = json.loads(written, parse_float=fraction, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
        inside = written is bare and isinstance(value, str)
        if argument.allows(value) and not (inside and argument.allows(text)):
            return written
    return None


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _python_as_json(bare: str, allowed: frozenset[str]) -> str | None:
    """A value that is written as Python writes it, if that is an allowed type other than text.
    Where it may be a text, `(5)` and the like are none other.
    """
    if "string" in allowed and bare[:1] not in _PYTHON:
        return None
    try:
        value = ast.literal_eval(bare)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return written if NAMES.get(type(value)) in allowed - _ONLY_TEXT else None


def quoted(text: str) -> str:
    """`text` as a JSON string."""
    return json.dumps(text, ensure_ascii=False)


def bare(value: object) -> str:
    """A value as it is written bare."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ValueReader(CallReader):
    """Base of the parsers of calls whose arguments are marked one by one."""

    def begin(self, name: str, id: str | None = None) -> None:
        super().begin(name, id)
        self._open = "{"  # what comes before the next argument

    def key(self, key: str) -> None:
        """An argument has begun; its value is told next."""
        self.argue(f"{self._open}{quoted(key)}: ")
        self._open = ", "

    def close(self) -> None:
        """The last argument has been told."""
        if self.certain:
            self.argue("}")
        self.finish()

    def bare_value(self, key: str, end: Phrases, on_lines: bool = False) -> Wait[None]:
        """Read a value up to its mark `end`, and tell it. `on_lines`: a line end at its beginning
        and one at its end are not of it.
        """
        root = self.tools.get(self.called, {})
        allowed = kinds(properties(self.tools, self.called).get(key), root)
        self.key(key)
        if allowed == _ONLY_TEXT:
            yield from self._text_value(end, on_lines)
            return
        pieces: list[str] = []
        complete = yield from self.until(end, pieces.append)
        text = "".join(pieces)
        if not complete:
            self.argue(text.strip())
            raise NoCall
        if on_lines:
            text = text.removeprefix("\n").removesuffix("\n")
        self.argue(as_json(text, allowed, argument(json.dumps(root), key)))

    def _text_value(self, end: Phrases, on_lines: bool) -> Wait[None]:
        tell: Tell = self.argue_inside
        if on_lines:
            tell = _Line(self.argue_inside)
        self.argue('"')
        if not (yield from self.until(end, tell)):
            raise NoCall
        self.argue('"')

    def argue_inside(self, text: str) -> None:
        """Tell a piece of a text, without quotes around it."""
        self.argue(quoted(text)[1:-1])


class _Line:
    """Tells text on, without a line end at its beginning and one at its end."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._begun = False
        self._kept = ""  # a line end that may be the last

    def __call__(self, text: str) -> None:
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\n")
        text = self._kept + text
        self._kept = "\n" if text.endswith("\n") else ""
        if text := text.removesuffix("\n"):
            self._tell(text)


def bare_arguments(rules: Rules, schema: Schema, end: str, write: Write) -> str:
    """The grammar of a tool's arguments: see `openllm.answer.schema.bare`."""
    return rules.written(bare_grammar(json.dumps(schema), end, write))
