"""What does not follow a schema, as schemas: one for each keyword that a value may break."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from openllm.answer.schema.document import Document, Place, Schema, refuse

TYPES = ("null", "boolean", "string", "array", "object", "number")
# `not` with one of these alone is as simple as it gets
LEAVES = frozenset(("const", "enum", "pattern"))
_BOUNDS = {
    "minimum": ("number", "exclusiveMaximum"),
    "maximum": ("number", "exclusiveMinimum"),
    "exclusiveMinimum": ("number", "maximum"),
    "exclusiveMaximum": ("number", "minimum"),
}
_COUNTS = {
    "Length": "string",
    "Items": "array",
    "Properties": "object",
}
_KEYWORDS = frozenset(
    (
        *(
            "type",
            "enum",
            "const",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "if",
            "then",
            "else",
            "nullable",
        ),
        *("$ref", "$dynamicRef", "$recursiveRef"),
        *("properties", "required", "additionalProperties", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        *("dependentRequired", "dependentSchemas", "dependencies"),
        *("items", "prefixItems", "additionalItems", "contains", "minContains", "maxContains"),
        *("uniqueItems", "minItems", "maxItems", "unevaluatedItems"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    )
)


def is_leaf(schema: object) -> bool:
    """Whether `not` of it needs no more taking apart."""
    if not isinstance(schema, dict):
        return False
    said = _KEYWORDS.intersection(schema)
    return len(said) == 1 and said <= LEAVES


def negated(place: Place, document: Document) -> list[Place]:
    """Schemas of which a value follows one where it does not follow `not` of this place. Errors:
    InvalidRequest where that cannot be said.
    """
    inner = place.below(place.get("not"), "not")
    if isinstance(inner.schema, bool):
        return [] if inner.schema else [place.derive("not", {}, "not")]
    if "$ref" in inner.schema and len(_KEYWORDS.intersection(inner.schema)) == 1:
        target = document.referred(inner)
        return [place.derive("ref", {"not": target.schema}, "not")]
    found: list[Place] = []
    for keyword in inner.schema:
        if keyword in _KEYWORDS:
            found += _broken(place, inner, keyword)
    return found


def _broken(place: Place, inner: Place, keyword: str) -> Iterator[Place]:
    """What breaks one keyword."""
    simple = _SIMPLE.get(keyword)
    bound = _BOUNDS.get(keyword)
    count = _COUNTS.get(keyword[3:]) if keyword.startswith(("min", "max")) else None
    if simple is not None:
        schemas = simple(inner)
    elif bound is not None and not isinstance(inner.get(keyword), bool):
        inner.number(keyword)
        schemas = iter([{"type": bound[0], bound[1]: inner.get(keyword)}])
    elif count is not None:
        schemas = _other_count(inner, keyword, count)
    else:
        hint = "Say what is allowed instead of what is not."
        refuse(place, "not", f"cannot be followed with {keyword} in it", hint)
    for at, schema in enumerate(schemas):
        yield place.derive(f"not-{keyword}-{at}", schema, "not")


def _other_count(inner: Place, keyword: str, kind: str) -> Iterator[Schema]:
    value, name = inner.count(keyword) or 0, keyword[3:]
    if keyword.startswith("max"):
        yield {"type": kind, f"min{name}": value + 1}
    elif value > 0:
        yield {"type": kind, f"max{name}": value - 1}


def _other_types(inner: Place) -> Iterator[Schema]:
    said = inner.get("type")
    own = set(said if isinstance(said, list) else [said])
    if "integer" in own and "number" not in own:
        hint = "Say what is allowed instead of what is not."
        refuse(inner, "type", "within not allows fractions and no integers", hint)
    yield {"type": [kind for kind in TYPES if kind not in own]}


def _other_values(keyword: str) -> Callable[[Place], Iterator[Schema]]:
    def schemas(inner: Place) -> Iterator[Schema]:
        yield {"not": {keyword: inner.get(keyword)}}

    return schemas


def _other_pattern(inner: Place) -> Iterator[Schema]:
    yield {"type": "string", "not": {"pattern": inner.get("pattern")}}


def _missing(inner: Place) -> Iterator[Schema]:
    for name in inner.names("required"):
        yield {"type": "object", "properties": {name: False}}


def _other_properties(inner: Place) -> Iterator[Schema]:
    for name, schema in inner.named("properties").items():
        if schema.schema is not True:
            own = {"not": schema.schema}
            yield {"type": "object", "required": [name], "properties": {name: own}}


def _none_of(keyword: str) -> Callable[[Place], Iterator[Schema]]:
    def schemas(inner: Place) -> Iterator[Schema]:
        yield {"allOf": [{"not": option.schema} for option in inner.schemas(keyword)]}

    return schemas


def _not_all_of(inner: Place) -> Iterator[Schema]:
    for option in inner.schemas("allOf"):
        yield {"not": option.schema}


def _doubly(inner: Place) -> Iterator[Schema]:
    schema = inner.below(inner.get("not"), "not").schema
    yield {"allOf": [schema]}


_SIMPLE: dict[str, Callable[[Place], Iterator[Schema]]] = {
    "type": _other_types,
    "const": _other_values("const"),
    "enum": _other_values("enum"),
    "pattern": _other_pattern,
    "required": _missing,
    "properties": _other_properties,
    "anyOf": _none_of("anyOf"),
    "allOf": _not_all_of,
    "not": _doubly,
}
