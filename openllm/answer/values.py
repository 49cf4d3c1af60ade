"""Arguments that are not written as JSON: each value bare, of the type that the tool's schema
gives it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from typing import Any

from openllm.answer.calls import CallReader, NoCall, Tools
from openllm.answer.grammar import Rules, either, literal, optional
from openllm.answer.reader import Phrases, Tell, Wait

Schema = Mapping[str, Any]
_ONLY_TEXT = frozenset(("string",))
NAMES: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def properties(tools: Tools, name: str) -> Mapping[str, Schema]:
    """The schemas of a tool's arguments; none where the tool or they are not known."""
    found = tools.get(name, {}).get("properties")
    return found if isinstance(found, Mapping) else {}


def kinds(schema: object, root: Schema, depth: int = 8) -> frozenset[str]:
    """The JSON types that a schema allows; empty where it does not say."""
    if not isinstance(schema, Mapping) or depth == 0:
        return frozenset()
    said = schema.get("type")
    if isinstance(said, str):
        return frozenset((said,))
    if isinstance(said, list):
        return frozenset(said)
    if "const" in schema or isinstance(schema.get("enum"), list):
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return frozenset(NAMES.get(type(value), "") for value in values)
    if isinstance(schema.get("$ref"), str):
        return kinds(resolved(schema, root), root, depth - 1)
    inner = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(inner, list):
        return frozenset()
    found = [kinds(item, root, depth - 1) for item in inner]
    return frozenset().union(*found) if all(found) else frozenset()


def resolved(schema: object, root: Schema) -> Schema:
    """The schema, or the one within `root` that it refers to; empty where that is not there."""
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(reference, str):
        return schema if isinstance(schema, Mapping) else {}
    found: object = root if reference.startswith("#") else None
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def part(schema: object, root: Schema) -> Schema:
    """A schema from within `root` as one that stands alone."""
    own: Schema = schema if isinstance(schema, Mapping) else {}
    return {**own, **{key: root[key] for key in ("$defs", "definitions") if key in root}}


def lengths(schema: Schema, of: str) -> tuple[int, int | None]:
    """The bounds `minX` and `maxX` of a schema, where `of` is X; no `maxX` is None."""
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    return least if isinstance(least, int) else 0, most if isinstance(most, int) else None


def as_json(text: str, allowed: frozenset[str]) -> str:
    """A bare value as JSON: what it says if its type is allowed (any, where nothing is said), else
    a string.
    """
    bare = text.strip()
    try:
        value = json.loads(bare, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _python_as_json(bare, allowed) or quoted(text)
    kind = NAMES[type(value)]
    fits = kind in allowed or (kind == "integer" and "number" in allowed) or not allowed
    if kind == "string":
        return quoted(text) if "string" in allowed or not allowed else bare
    return bare if fits or "string" not in allowed else quoted(text)


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _python_as_json(bare: str, allowed: frozenset[str]) -> str | None:
    """A value that is written as Python writes it, if that is an allowed type other than text."""
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
        self.argue(as_json(text, allowed))

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


def bare_arguments(rules: Rules, schema: Schema, end: str, write: Callable[[str, str], str]) -> str:
    """The grammar of a tool's arguments: all that are required, others or not, in the schema's
    order. `write` makes one of a name and the expression of its value, which goes up to `end`.

    The grammar does not keep a text to all that a schema may say of it: see
    `openllm.answer.unkept`.
    """
    required = schema.get("required") or ()
    found = []
    for name, own in (schema.get("properties") or {}).items():
        argument = write(name, _bare(rules, own, schema, end))
        found.append(argument if name in required else optional(argument))
    return " ".join(found) or '""'


def _bare(rules: Rules, schema: object, root: Schema, end: str) -> str:
    """The expression of one bare value."""
    own = resolved(schema, root)
    values = [own["const"]] if "const" in own else own.get("enum")
    if isinstance(values, list) and values:
        return either(literal(bare(value)) for value in values)
    allowed = kinds(own, root)
    if not allowed or "string" in allowed:
        return rules.text_before(end, *lengths(own, "Length"))
    return rules.json(part(own, root))
