"""What a tool's schema says that a format cannot keep a call to whose values are not written as
JSON: the first keyword of it, and where it stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from openllm.answer.schema.bare import lost
from openllm.answer.schema.explored import explored
from openllm.answer.schema.text.formats import PATTERNS
from openllm.answer.values import NAMES, Schema, kinds, resolved, stands_for

_DEEPEST = 16  # schemas within each other, as in `literals`
# Keywords that say something of values, by the types that they say it of.
_OF_ANY = (
    *("$dynamicRef", "$ref", "allOf", "anyOf", "const", "else", "enum", "if", "not", "oneOf"),
    "then",
)
_OF: Mapping[str, tuple[str, ...]] = {
    "string": ("format", "maxLength", "minLength", "pattern"),
    "array": (
        *("additionalItems", "contains", "items", "maxContains", "maxItems", "minContains"),
        *("minItems", "prefixItems", "unevaluatedItems", "uniqueItems"),
    ),
    "object": (
        *("additionalProperties", "dependencies", "dependentRequired", "dependentSchemas"),
        *("maxProperties", "minProperties", "patternProperties", "properties", "propertyNames"),
        *("required", "unevaluatedProperties"),
    ),
    "number": ("exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"),
}
_FAMILY: Mapping[str, str] = {"integer": "number"}
_LENGTHS = ("maxLength", "minLength")


def in_literals(schema: Schema) -> str | None:
    """What `openllm.answer.literals` does not keep of the arguments' schema; None: it keeps all."""
    return next(_of_object(schema, schema, ""), None)


def in_bare_values(schema: Schema) -> str | None:
    """What `openllm.answer.values.bare_arguments` does not keep of it; None: it keeps all.

    Errors: InvalidRequest for a schema that no grammar keeps.
    """
    keyword = lost(explored(json.dumps(schema)))
    return None if keyword is None else _told(keyword, "")


def _of_object(schema: Schema, root: Schema, where: str, depth: int = 0) -> Iterator[str]:
    """What is lost of an object whose properties are written one by one."""
    declared = schema.get("properties") or {}
    yield from _beside(schema, where, "object", ("additionalProperties", "properties", "required"))
    for name in schema.get("required") or ():
        if name not in declared:
            yield f"required, of {name} that is no property ({where or 'the whole'})"
    others = schema.get("additionalProperties")
    if depth and not declared and isinstance(others, Mapping) and others:
        yield _told("additionalProperties", where)
    for name, own in declared.items():
        yield from _in_literal(own, root, f"{where}.{name}" if where else name, depth + 1)


def _in_literal(schema: object, root: Schema, where: str, depth: int) -> Iterator[str]:
    own, following = schema, stands_for(schema, root)
    for _ in range(_DEEPEST):
        if following is None or not isinstance(own, Mapping):
            break
        yield from _beside(own, where, None, ("$ref" if "$ref" in own else "allOf",))
        own, following = following, stands_for(following, root)
    own = resolved(schema, root)
    if depth >= _DEEPEST:
        yield f"schemas deeper than {_DEEPEST} within each other ({where})"
    elif "const" in own or isinstance(own.get("enum"), list):
        yield from _listed(own, root, where)
    elif inner := _branches(own):
        yield from _alternatives(own, inner, root, where)
        for item in inner:
            yield from _in_literal(item, root, where, depth + 1)
    else:
        yield from _by_kind(own, root, where, depth)


def _by_kind(own: Schema, root: Schema, where: str, depth: int) -> Iterator[str]:
    """What is lost of a value whose schema says its types itself."""
    allowed = kinds(own, root)
    if not allowed:
        yield from _beside(own, where, None, ())
    if "string" in allowed:
        yield from _beside(own, where, "string", _LENGTHS)
    if "array" in allowed:
        yield from _beside(own, where, "array", ("items", "maxItems", "minItems"))
        yield from _in_literal(own.get("items") or {}, root, f"{where}[]", depth + 1)
    if "object" in allowed:
        yield from _of_object(own, root, where, depth)
    for kind in allowed - {"string", "array", "object"}:
        yield from _beside(own, where, _FAMILY.get(kind, kind), _OF["number"])


def _branches(own: Schema) -> list[object]:
    found = own.get("anyOf") or own.get("oneOf")
    return found if isinstance(found, list) else []


def _alternatives(own: Schema, inner: list[object], root: Schema, where: str) -> Iterator[str]:
    """What is lost around alternatives; of `oneOf` it is that no two may hold."""
    yield from _beside(own, where, None, ("anyOf", "oneOf"))
    if "anyOf" in own and "oneOf" in own:
        yield _told("oneOf", where)
    seen: set[str] = set()
    for item in inner if "oneOf" in own else ():
        allowed = {_FAMILY.get(kind, kind) for kind in kinds(item, root)}
        if not allowed or seen & allowed:
            yield _told("oneOf", where)
        seen |= allowed


def _listed(own: Schema, root: Schema, where: str) -> Iterator[str]:
    """What is lost beside values that are listed: each is written as it is."""
    yield from _beside(own, where, None, ("const", "enum"))
    if "const" in own and "enum" in own:
        yield _told("enum", where)
    said = own.get("type")
    types = {said} if isinstance(said, str) else set(said or ())
    if "number" in types:
        types.add("integer")
    values = [own["const"]] if "const" in own else own["enum"]
    if types and not all(NAMES.get(type(value), "") in types for value in values):
        yield _told("type", where)


def _beside(schema: Schema, where: str, kind: str | None, kept: tuple[str, ...]) -> Iterator[str]:
    """The keywords of `schema` that say something of values of the type `kind`, or of any, beside
    those that are `kept`. A `format` that nobody knows is an annotation.
    """
    every = tuple(name for names in _OF.values() for name in names)
    for keyword in _OF_ANY + (every if kind is None else _OF.get(kind, ())):
        annotates = keyword == "format" and schema.get(keyword) not in PATTERNS
        if keyword in schema and keyword not in kept and not annotates:
            yield _told(keyword, where)


def _told(keyword: str, where: str) -> str:
    return f"{keyword} ({where or 'the whole'})"
