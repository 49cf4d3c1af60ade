"""Schemas as clients, registries and API descriptions write them: families that are generated, and
one or several for each keyword, each kept or refused by the keyword that is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import attrs

Schema = dict[str, Any]


@attrs.frozen
class Sample:
    """One schema; `refused`: the keyword that its refusal names, None where it is kept.

    `valid` are values that follow it and that its grammar must allow, `invalid` such as it must
    not allow.
    """

    name: str
    schema: Any
    refused: str | None = None
    valid: tuple[Any, ...] = ()
    invalid: tuple[Any, ...] = ()


def thing(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return found | ({"required": list(required)} if required else {})


TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TIME = {"type": "string", "format": "date-time"}
UUID = {"type": "string", "format": "uuid"}
MONEY = {"type": "number", "minimum": 0, "multipleOf": 0.01}
TAGS = {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3}


def corpus() -> list[Sample]:
    """All of them, by name each once."""
    families = (_payloads, _manifests, _workflows, _openapi, _functions, _keywords)
    return [sample for family in families for sample in family()]


def _payloads() -> Iterator[Sample]:
    """What HTTP APIs take and give: resources with ids, times, enums, and lists of them."""
    resources: dict[str, Schema] = {
        "user": thing(
            ("id", "email"),
            id=UUID,
            email={"type": "string", "format": "email", "maxLength": 40},
            age={"type": "integer", "minimum": 0, "maximum": 130},
            roles={"type": "array", "items": {"enum": ["admin", "editor", "viewer"]}},
        ),
        "order": thing(
            ("total", "currency"),
            total=MONEY,
            currency={"type": "string", "pattern": "^[A-Z]{3}$"},
            placed=TIME,
            lines={"type": "array", "items": thing(("sku",), sku=TEXT, count=INTEGER)},
        ),
        "invoice": thing(
            ("number",),
            number={"type": "string", "pattern": "^INV-\\d{4}-\\d+$"},
            due={"type": "string", "format": "date"},
            paid={"type": "boolean"},
            discount={"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        ),
        "event": thing(
            ("kind", "at"),
            kind={"const": "created"},
            at=TIME,
            actor={"type": ["string", "null"]},
            data={"type": "object"},
        ),
        "place": thing(
            ("lat", "lon"),
            lat={"type": "number", "minimum": -90, "maximum": 90},
            lon={"type": "number", "minimum": -180, "exclusiveMaximum": 180},
            label={"anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
        ),
        "host": thing(
            ("address",),
            address={"type": "string", "format": "ipv4"},
            name={"type": "string", "format": "hostname"},
            port={"type": "integer", "minimum": 1, "maximum": 65535},
            url={"type": "string", "format": "uri"},
        ),
        "ticket": thing(
            ("title", "priority"),
            title={"type": "string", "minLength": 3, "maxLength": 20},
            priority={"type": "integer", "enum": [1, 2, 3]},
            labels=TAGS,
            estimate={"type": "string", "format": "duration"},
        ),
        "photo": thing(
            ("width", "height"),
            width={"type": "integer", "exclusiveMinimum": 0},
            height={"type": "integer", "exclusiveMinimum": 0},
            palette={
                "type": "array",
                "items": {"type": "string", "pattern": "^#[0-9a-f]{6}$"},
                "minItems": 1,
                "maxItems": 4,
            },
        ),
    }
    wraps = {
        "itself": lambda own: own,
        "closed": lambda own: own | {"additionalProperties": False},
        "all": lambda own: own | {"required": list(own["properties"])},
        "page": lambda own: thing(
            ("items",),
            items={"type": "array", "items": own, "maxItems": 2},
            next={"type": ["string", "null"]},
        ),
        "maybe": lambda own: {"anyOf": [own, {"type": "null"}]},
        "reference": lambda own: {"$ref": "#/$defs/own", "$defs": {"own": own}},
        "answer": lambda own: {
            "oneOf": [
                thing(("ok", "value"), ok={"const": True}, value=own),
                thing(("ok", "error"), ok={"const": False}, error=TEXT),
            ]
        },
        "merged": lambda own: {"allOf": [own, thing(("trace",), trace=INTEGER)]},
        "map": lambda own: {"type": "object", "additionalProperties": own, "maxProperties": 2},
        "extended": lambda own: own | {"patternProperties": {"^x-": True}},
    }
    for (name, own), (way, wrap) in itertools.product(resources.items(), wraps.items()):
        yield Sample(f"payload {name} {way}", wrap(own))


def _manifests() -> Iterator[Sample]:
    """Package manifests and settings: free keys, patterns of names, versions."""
    versions = {
        "semver": "^\\d+\\.\\d+\\.\\d+(-[0-9A-Za-z.-]+)?$",
        "caret": "^[~^]?\\d+(\\.\\d+){0,2}$",
        "calendar": "^20\\d{2}\\.(0[1-9]|1[0-2])$",
        "any": ".+",
    }
    for kind, version in versions.items():
        name = {"type": "string", "pattern": "^[a-z0-9._-]+$", "maxLength": 20}
        person = {"anyOf": [TEXT, thing(("name",), name=TEXT, email=TEXT)]}
        own = thing(
            ("name", "version"),
            name=name,
            version={"type": "string", "pattern": version},
            dependencies={"type": "object", "additionalProperties": {"type": "string"}},
            author=person,
            private={"type": "boolean", "default": False},
        )
        yield Sample(f"manifest {kind}", own)
        yield Sample(f"manifest {kind} open", own | {"additionalProperties": True})
        scripts = {
            "type": "object",
            "patternProperties": {"^[a-z]+(:[a-z]+)*$": TEXT},
            "additionalProperties": False,
        }
        yield Sample(f"manifest {kind} scripts", thing(("scripts",), scripts=scripts, v=own))
        files = {"type": "array", "items": TEXT, "uniqueItems": True}
        yield Sample(f"manifest {kind} files", thing(files=files, v=own), "uniqueItems")
        yield Sample(
            f"manifest {kind} needs",
            own | {"dependentRequired": {"private": ["author"]}},
            valid=({"name": "a", "version": "2026.01" if kind == "calendar" else "1.0.0"},),
            invalid=({"name": "a", "version": "1.0.0", "private": True},),
        )
        look = {"type": "string", "pattern": "^(?!\\.)[a-z]+$"}
        yield Sample(f"manifest {kind} look", thing(name=look, v=own), "pattern")


def _workflows() -> Iterator[Sample]:
    """Workflows as CI services describe them: steps of several kinds, references, recursion."""
    definitions: Schema = {
        "name": {"type": "string", "pattern": "^[_a-zA-Z][a-zA-Z0-9_-]*$"},
        "env": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "run": thing(("run",), run=TEXT, env={"$ref": "#/definitions/env"}, shell=TEXT),
        "uses": thing(("uses",), uses={"type": "string", "pattern": "@v[0-9]+$"}),
        "step": {"oneOf": [{"$ref": "#/definitions/run"}, {"$ref": "#/definitions/uses"}]},
        "either": {"anyOf": [{"$ref": "#/definitions/run"}, {"$ref": "#/definitions/uses"}]},
        "group": thing(
            ("steps",),
            steps={"type": "array", "items": {"$ref": "#/definitions/node"}, "maxItems": 2},
        ),
        "node": {"anyOf": [{"$ref": "#/definitions/either"}, {"$ref": "#/definitions/group"}]},
        "matrix": {
            "type": "object",
            "patternProperties": {"^[a-z]+$": {"type": "array", "minItems": 1, "items": TEXT}},
            "minProperties": 1,
            "additionalProperties": False,
        },
        "a/b~c": {"enum": ["push", "pull_request"]},
        "cron": {"type": "string", "pattern": "^(\\*|\\d+)( (\\*|\\d+)){4}$"},
    }
    targets = ["name", "env", "run", "uses", "step", "either", "group", "node", "matrix", "cron"]
    for target, runner in itertools.product([*targets, "a~1b~0c"], ("plain", "strict", "list")):
        own: Schema = {"$ref": f"#/definitions/{target}"}
        if runner == "list":
            own = {"type": "array", "items": own, "maxItems": 2}
        elif runner == "strict":
            own = thing(("on", "job"), on={"$ref": "#/definitions/a~1b~0c"}, job=own)
        yield Sample(f"workflow {target} {runner}", own | {"definitions": definitions})


def _openapi() -> Iterator[Sample]:
    """Fragments of OpenAPI descriptions: nullable, discriminators, allOf as inheritance."""
    schemas: Schema = {
        "Pet": thing(("name", "petType"), name=TEXT, petType=TEXT),
        "Cat": {
            "allOf": [
                {"$ref": "#/components/schemas/Pet"},
                thing(("lives",), petType={"enum": ["cat"]}, lives={"maximum": 9, **INTEGER}),
            ]
        },
        "Dog": {
            "allOf": [
                {"$ref": "#/components/schemas/Pet"},
                thing(("packSize",), petType={"enum": ["dog"]}, packSize=INTEGER),
            ]
        },
        "Error": thing(("code",), code={"type": "integer", "format": "int32"}, message=TEXT),
        "Money": thing(("amount",), amount={**MONEY, "maximum": 9999.99}, note={**TEXT}),
        "Tree": thing(
            value=INTEGER,
            children={
                "type": "array",
                "items": {"$ref": "#/components/schemas/Tree"},
                "maxItems": 2,
            },
        ),
        "Maybe": thing(("a",), a={"type": "string", "nullable": True, "maxLength": 5}),
        "Old": {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 8},
        "Bytes": {"type": "string", "format": "byte"},
        "Free": {"type": "object", "additionalProperties": True},
        "Shape": {
            "oneOf": [
                thing(("kind",), kind={"const": "circle"}, radius=NUMBER),
                thing(("kind",), kind={"const": "square"}, side=NUMBER),
            ],
            "discriminator": {"propertyName": "kind"},
        },
        "Any": {},
    }
    for target in schemas:
        own = {"$ref": f"#/components/schemas/{target}"}
        shared = {"components": {"schemas": schemas}}
        yield Sample(f"openapi {target}", own | shared)
        many = {"type": "array", "items": own, "minItems": 1, "maxItems": 2}
        yield Sample(f"openapi {target} list", many | shared)
        yield Sample(f"openapi {target} body", thing(("data",), data=own, id=UUID) | shared)
    both = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Cat", "Dog")]}
    yield Sample("openapi cat or dog", both | {"components": {"schemas": schemas}})
    yield Sample("openapi other file", {"$ref": "common.yaml#/Pet"}, "$ref")
    yield Sample("openapi other host", {"$ref": "https://example.com/pet.json"}, "$ref")


def _functions() -> Iterator[Sample]:
    """Parameters of tools as agents declare them, strict ones (everything required) among them."""
    kinds: dict[str, Schema] = {
        "text": TEXT,
        "integer": INTEGER,
        "number": NUMBER,
        "boolean": {"type": "boolean"},
        "null": {"type": "null"},
        "enum": {"type": "string", "enum": ["celsius", "fahrenheit", 'say "x"', "a\\b"]},
        "list": {"type": "array", "items": INTEGER},
        "object": thing(("x", "y"), x=NUMBER, y=NUMBER),
        "either": {"anyOf": [INTEGER, TEXT]},
        "types": {"type": ["integer", "string", "null"]},
        "pair": {"type": "array", "prefixItems": [TEXT, INTEGER], "items": False, "minItems": 2},
        "bounded": {"type": "integer", "minimum": -5, "maximum": 17},
        "short": {"type": "string", "maxLength": 4},
        "any": {},
        "const": {"const": {"a": [1, None, "ü"]}},
    }
    for (first, one), strict in itertools.product(kinds.items(), (False, True)):
        own = thing((first,), **{first: one | {"description": "What it is."}, "note": TEXT})
        if strict:
            own |= {"required": [first, "note"], "additionalProperties": False}
        yield Sample(f"function {first} {'strict' if strict else 'free'}", own)
    for first, second in itertools.pairwise(kinds):
        own = {"$defs": {"both": {"anyOf": [kinds[first], kinds[second]]}}, "type": "object"}
        items = {"type": "array", "items": {"$ref": "#/$defs/both"}, "maxItems": 3}
        yield Sample(
            f"function {first} or {second}",
            own | {"properties": {"items": items}, "required": ["items"]},
        )


def _keywords() -> Iterator[Sample]:
    """One or several for each keyword."""
    for at, (refused, schema, valid, invalid) in enumerate(KEYWORDS):
        name = f"keyword {at} {refused or ''}"
        yield Sample(name, schema, refused, tuple(valid), tuple(invalid))


_KIND = thing(("k",), k={"enum": ["a", "b"]}, x=INTEGER, y=INTEGER)
_IF_A = {"properties": {"k": {"const": "a"}}, "required": ["k"]}

# The keyword that is refused, the schema, values that it allows, values that it does not.
KEYWORDS: list[tuple[str | None, Any, list[Any], list[Any]]] = [
    (None, True, [1, "a", None, {"a": []}], []),
    ("no value", False, [], []),
    (None, {"type": "string"}, ["", 'a"\\\n', "ü€😀"], [1]),
    (None, {"type": "integer"}, [0, -1, 10**30], [1.5, "1"]),
    (None, {"type": "number"}, [0, -1.5, 1e20], ["1"]),
    (None, {"type": ["null", "boolean"]}, [None, True, False], [0]),
    (None, {"enum": ["a", 1, None, {"a": 1}]}, ["a", 1, None, {"a": 1}], ["b", 2]),
    (None, {"enum": [1, "a", 2.5], "type": "number"}, [1, 2.5], ["a"]),
    (None, {"enum": ["a", "bb", "ccc"], "minLength": 2, "pattern": "^.b|c$"}, ["bb", "ccc"], ["a"]),
    (None, {"const": 'say "hi" \\ (so)'}, ['say "hi" \\ (so)'], ["say hi"]),
    (None, {"minimum": 0}, [0, 5, 0.5], [-1, -0.5]),
    (None, {"type": "integer", "minimum": 7}, [7, 8, 70, 100], [6, -7, 0]),
    (None, {"type": "integer", "maximum": -3}, [-3, -4, -30], [-2, 0, 3]),
    (None, {"type": "integer", "minimum": -12, "maximum": 345}, [-12, 0, 345, 99], [-13, 346]),
    (None, {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}, [4], [3, 5]),
    (None, {"type": "number", "minimum": 0.25, "maximum": 0.3}, [0.25, 0.3, 0.275], [0.2, 0.31]),
    (None, {"type": "number", "exclusiveMinimum": 1.5}, [1.51, 2, 20.5], [1.5, 1]),
    (None, {"type": "number", "minimum": 1, "exclusiveMaximum": 1.25}, [1, 1.0, 1.2], [1.25, 0.9]),
    (None, {"type": "number", "minimum": -1e300}, [-5, 0, 5.5], []),
    ("minimum", {"type": "number", "minimum": 1e40}, [], []),
    (None, {"type": "integer", "multipleOf": 5}, [0, 5, -10, 125], [1, 12]),
    (None, {"type": "integer", "multipleOf": 7, "minimum": 0}, [0, 7, 77], [-7, 8]),
    (None, {"type": "integer", "multipleOf": 6, "maximum": -1}, [-6, -66], [0, 6, -7]),
    (None, {"type": "integer", "multipleOf": 25, "minimum": -50, "maximum": 50}, [-50, 0], [75]),
    (None, {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 1}, [0.75, 1], [0.3]),
    (None, {"type": "number", "multipleOf": 0.1}, [0.1, 2, -3.4], [0.25]),
    (None, {"type": "number", "multipleOf": 2}, [4, -2], [3, 0.5]),
    ("multipleOf", {"type": "number", "multipleOf": 0.3}, [], []),
    ("multipleOf", {"type": "integer", "multipleOf": 1000}, [], []),
    ("multipleOf", {"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "type": "integer"}, [], []),
    (None, {"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "😀ü\n"], ["a", "abcd"]),
    (None, {"type": "string", "minLength": 1}, ["a", '"'], [""]),
    (None, {"type": "string", "pattern": '^"a\\\\b"$'}, ['"a\\b"'], ["a"]),
    (None, {"type": "string", "pattern": "b"}, ["b", "abc", "\nb\n"], ["a", ""]),
    (None, {"type": "string", "pattern": "^a.c$"}, ["abc", "a\tc"], ["a\nc", "a\rc"]),
    (None, {"type": "string", "pattern": "^a$|^b"}, ["a", "bcd"], ["ab", "cb"]),
    (None, {"type": "string", "pattern": "^(a|b$)"}, ["a", "ab", "b"], ["bc"]),
    (None, {"type": "string", "pattern": "^[^a-c\\s]+$"}, ["xyz", 'd"e\\'], ["xa", "x y", ""]),
    (None, {"type": "string", "pattern": "^\\u00e9\\x41\\t\\x01$"}, ["éA\t\x01"], ["éA"]),
    (None, {"type": "string", "pattern": "^(?:ab){2,3}?c*?$"}, ["ababcc", "ababab"], ["ab"]),
    (None, {"type": "string", "pattern": "^a{2}$", "maxLength": 3}, ["aa"], ["aaa"]),
    (None, {"type": "string", "pattern": "^[ab]+$", "maxLength": 3}, ["ab", "aba"], ["abab", ""]),
    (None, {"type": "string", "pattern": "a.*b", "maxLength": 4}, ["ab", "xaxb"], ["xxaxb"]),
    (None, {"allOf": [{"pattern": "^a"}, {"pattern": "z$"}]}, ["az", "abz"], ["a", "z"]),
    ("pattern", {"type": "string", "pattern": "^(?=a)b"}, [], []),
    ("pattern", {"type": "string", "pattern": "(?<!a)b"}, [], []),
    ("pattern", {"type": "string", "pattern": "(a)\\1"}, [], []),
    ("pattern", {"type": "string", "pattern": "\\bword\\b"}, [], []),
    ("pattern", {"type": "string", "pattern": "^\\p{L}+$"}, [], []),
    ("pattern", {"type": "string", "pattern": "a^b"}, [], []),
    ("pattern", {"type": "string", "pattern": "(unclosed"}, [], []),
    ("pattern", {"type": "string", "pattern": "a{1,99999}"}, [], []),
    ("pattern", {"type": "string", "pattern": "(a|b)*c(a|b){20}", "minLength": 900}, [], []),
    (None, {"type": "string", "format": "date"}, ["2024-02-29"], ["2023-02-29", "2024-13-01"]),
    (None, {"type": "string", "format": "time"}, ["23:59:59Z", "01:02:03.5+01:00"], ["24:00:00Z"]),
    (None, {"type": "string", "format": "date-time"}, ["2024-01-02T03:04:05Z"], ["2024-01-02"]),
    (None, {"type": "string", "format": "duration"}, ["P1DT2H", "PT5M", "P3W"], ["P", "1D"]),
    (None, {"type": "string", "format": "email"}, ["a.b+c@example.com"], ["a", "a@"]),
    (None, {"type": "string", "format": "hostname"}, ["example.com"], ["-a", "a..b"]),
    (None, {"type": "string", "format": "ipv4"}, ["192.168.0.1"], ["256.0.0.1", "01.2.3.4"]),
    (
        None,
        {"type": "string", "format": "ipv6"},
        ["::1", "fe80::1:2", "1:2:3:4:5:6:7:8"],
        ["1::2::3"],
    ),
    (None, {"type": "string", "format": "uuid"}, ["123e4567-e89b-12d3-a456-426614174000"], ["1"]),
    (None, {"type": "string", "format": "uri"}, ["https://example.com/a?b=c#d"], ["not one"]),
    (None, {"type": "string", "format": "uri-reference"}, ["/a/b?c", "#d"], ["a b"]),
    (None, {"type": "string", "format": "uri-template"}, ["/a/{b}"], ["{"]),
    (None, {"type": "string", "format": "json-pointer"}, ["", "/a~1b/0"], ["a", "/~2"]),
    (None, {"type": "string", "format": "relative-json-pointer"}, ["0#", "1/a"], ["-1"]),
    (None, {"type": "string", "format": "uri", "maxLength": 2083}, ["https://example.com/a"], []),
    (
        None,
        {"type": "string", "format": "email", "maxLength": 60},
        ["a.b@c.de"],
        ["a" * 60 + "@c.de"],
    ),
    (None, {"type": "string", "format": "phone"}, ["anything"], []),
    (
        None,
        {"type": "array", "items": INTEGER, "minItems": 1, "maxItems": 2},
        [[1]],
        [[], [1, 2, 3]],
    ),
    (None, {"type": "array", "prefixItems": [INTEGER, TEXT]}, [[], [1], [1, "a"]], [["a"]]),
    (None, {"type": "array", "prefixItems": [INTEGER], "items": TEXT}, [[1, "a", "b"]], [[1, 2]]),
    (None, {"type": "array", "items": [INTEGER], "additionalItems": TEXT}, [[1, "a"]], [["a"]]),
    (None, {"type": "array", "items": False}, [[]], [[1]]),
    (None, {"type": "array", "minItems": 3}, [[1, 2, 3]], [[1, 2]]),
    (None, {"type": "array", "contains": {"const": 7}}, [[7], [1, 7, 2]], [[], [1]]),
    ("contains", {"type": "array", "contains": INTEGER, "maxItems": 3}, [], []),
    ("contains", {"type": "array", "contains": INTEGER, "minContains": 2}, [], []),
    ("uniqueItems", {"type": "array", "items": TEXT, "uniqueItems": True}, [], []),
    (
        None,
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True},
        [[1, 3]],
        [[1, 1]],
    ),
    (None, {"type": "array", "items": TEXT, "uniqueItems": True, "maxItems": 1}, [["a"], []], []),
    (None, {"type": "array", "items": TEXT, "uniqueItems": False}, [["a", "a"]], []),
    (None, {"type": "object", "required": ["a"]}, [{"a": 1}, {"a": 1, "b": 2}], [{}, {"b": 2}]),
    (None, thing(("b",), a=TEXT), [{"a": "x", "b": None}], [{"a": "x"}]),
    (None, thing(a=TEXT) | {"additionalProperties": INTEGER}, [{"a": "x", "b": 1}], [{"b": "x"}]),
    (None, thing(a=TEXT) | {"minProperties": 1}, [{"a": "x"}], [{}]),
    (None, thing(a=TEXT, b=TEXT, c=TEXT) | {"maxProperties": 2}, [{"a": "x", "c": "y"}], []),
    (None, thing(a=TEXT, b=TEXT, c=TEXT) | {"minProperties": 2}, [{"a": "", "c": ""}], [{"a": ""}]),
    ("minProperties", {"type": "object", "minProperties": 2}, [], []),
    (None, {"type": "object", "maxProperties": 0}, [{}], [{"a": 1}]),
    (None, {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}, [{"ab": 1}], [{"A": 1}]),
    (None, {"type": "object", "propertyNames": {"enum": ["a", "b"]}}, [{"a": 1}], [{"c": 1}]),
    (
        "propertyNames",
        {"type": "object", "propertyNames": {"anyOf": [{"pattern": "^a"}, {"pattern": "b$"}]}},
        [],
        [],
    ),
    (None, {"type": "object", "patternProperties": {"^a": INTEGER}}, [{"ab": 1}], [{"ab": "x"}]),
    (
        None,
        {
            "patternProperties": {"^a": INTEGER, "z$": {"minimum": 5}},
            "additionalProperties": TEXT,
            "type": "object",
        },
        [{"az": 7, "a": 1, "b": "x"}],
        [{"az": 1}, {"b": 1}],
    ),
    (
        None,
        thing(ab=TEXT) | {"patternProperties": {"^a": {"minLength": 2}}},
        [{"ab": "xy"}],
        [{"ab": "x"}],
    ),
    (
        None,
        {"allOf": [thing(("a",), a=TEXT), thing(("b",), b=INTEGER)]},
        [{"a": "x", "b": 1}],
        [{"a": "x"}],
    ),
    (None, {"allOf": [{"type": ["integer", "null"]}, {"minimum": 3}]}, [3, None], [2]),
    ("no value", {"allOf": [TEXT, INTEGER]}, [], []),
    ("no value", thing(("a",), a=False), [], []),
    (None, {"anyOf": [INTEGER, {"type": "string", "maxLength": 1}]}, [1, "a"], ["ab"]),
    (
        None,
        thing(a=TEXT, b=TEXT) | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"b": ""}],
        [{}],
    ),
    (
        None,
        thing(a=TEXT, b=TEXT) | {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"b": ""}],
        [{}, {"a": "", "b": ""}],
    ),
    (None, {"oneOf": [INTEGER, TEXT]}, [1, "a"], [None]),
    (None, {"oneOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, [1, 3], [2]),
    (
        None,
        {"oneOf": [thing(k={"const": "a"}), thing(k={"const": "b"}, v=INTEGER)]},
        [{"k": "b", "v": 1}],
        [{}],
    ),
    (
        "oneOf",
        {"oneOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "uuid"}]},
        [],
        [],
    ),
    ("oneOf", {"oneOf": [{"multipleOf": 3}, {"multipleOf": 5}], "type": "integer"}, [], []),
    (None, {"oneOf": [{"minimum": 3}, {"maximum": 5}], "type": "integer"}, [2, 6], [3, 4, 5]),
    (
        None,
        _KIND | {"if": _IF_A, "then": {"required": ["x"]}, "else": {"required": ["y"]}},
        [{"k": "a", "x": 1}, {"k": "b", "y": 1}],
        [{"k": "a", "y": 1}, {"k": "b"}],
    ),
    (
        None,
        _KIND
        | {
            "if": {"properties": {"k": {"const": "a"}}},
            "then": {"properties": {"x": {"minimum": 3}}},
        },
        [{"k": "a", "x": 3}, {"k": "b", "x": 1}],
        [{"k": "a", "x": 1}],
    ),
    (
        None,
        {"type": "integer", "if": {"minimum": 10}, "then": {"multipleOf": 10, "maximum": 90}},
        [3, 20],
        [15],
    ),
    ("if", {"if": {"items": INTEGER}, "then": {"minItems": 2}, "type": "array"}, [], []),
    (None, {"not": {"type": "string"}}, [1, None], ["a"]),
    (None, {"type": "string", "not": {"enum": ["a", "ab"]}}, ["", "abc", "b"], ["a", "ab"]),
    (None, {"type": "string", "not": {"pattern": "^x"}}, ["a", ""], ["x", "xy"]),
    (None, {"type": "integer", "not": {"const": 0}}, [1, -1, 10], [0]),
    (None, {"type": "number", "not": {"const": 0}}, [1, -1, 0.5], [0]),
    (
        None,
        thing(a=TEXT, b=TEXT) | {"not": {"required": ["a", "b"]}},
        [{"a": ""}],
        [{"a": "", "b": ""}],
    ),
    (None, {"type": "integer", "not": {"anyOf": [{"minimum": 5}, {"maximum": 1}]}}, [2, 4], [5, 1]),
    (None, {"not": {"not": INTEGER}}, [1], ["a"]),
    ("not", {"type": "array", "not": {"items": INTEGER}}, [], []),
    ("not", {"type": "integer", "not": {"multipleOf": 3}}, [], []),
    (
        None,
        thing(a=TEXT, b=TEXT) | {"dependentRequired": {"a": ["b"]}},
        [{"b": ""}, {}],
        [{"a": ""}],
    ),
    (None, thing(a=TEXT, b=TEXT) | {"dependencies": {"a": ["b"]}}, [{"b": ""}, {}], [{"a": ""}]),
    (
        None,
        thing(a=TEXT, b=TEXT)
        | {"dependentSchemas": {"a": {"properties": {"b": {"minLength": 2}}}}},
        [{"a": "", "b": "xy"}],
        [{"a": "", "b": "x"}],
    ),
    (None, thing(a=TEXT) | {"unevaluatedProperties": False}, [{"a": ""}], [{"b": ""}]),
    (
        "unevaluatedProperties",
        {"allOf": [thing(a=TEXT) | {"unevaluatedProperties": False}, thing(b=TEXT)]},
        [],
        [],
    ),
    ("unevaluatedItems", {"type": "array", "unevaluatedItems": INTEGER}, [], []),
    ("$ref", {"$ref": "#/$defs/gone"}, [], []),
    ("$ref", {"$ref": "other.json"}, [], []),
    ("follows from itself", {"$ref": "#"}, [], []),
    (None, {"$ref": "#/$defs/a%25b", "$defs": {"a%b": INTEGER}}, [1], ["a"]),
    (None, {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "integer"}}}, [1], ["a"]),
    (None, {"$ref": "#/$defs/n", "minimum": 3, "$defs": {"n": INTEGER}}, [3], [2]),
    (
        None,
        {
            "$id": "https://example.com/s",
            "$ref": "https://example.com/s#/$defs/n",
            "$defs": {"n": INTEGER},
        },
        [3],
        ["a"],
    ),
    (None, thing(v=INTEGER, next={"$ref": "#"}), [{"v": 1, "next": {"v": 2}}], [{"next": 1}]),
    ("no value", thing(("next",), next={"$ref": "#"}), [], []),
    ("$dynamicRef", {"$dynamicRef": "#node"}, [], []),
    ("$recursiveRef", {"$recursiveRef": "#"}, [], []),
    (None, {"type": "string", "nullable": True}, ["a", None], [1]),
    ("type", {"type": "nothing"}, [], []),
    ("minLength", {"type": "string", "minLength": "x"}, [], []),
    ("properties", {"type": "object", "properties": ["a"]}, [], []),
    (None, thing(**{'a"b': INTEGER, "c{d": TEXT}), [{'a"b': 1, "c{d": "x"}], [{'a"b': "x"}]),
    (
        None,
        {"title": "T", "description": "D", "default": 1, "examples": [2], "x-own": 3, **INTEGER},
        [5],
        ["a"],
    ),
]
