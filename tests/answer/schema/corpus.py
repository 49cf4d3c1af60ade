"""Schemas as clients, registries and API descriptions write them: families that are generated, and
one or several for each keyword, each kept or refused by the keyword that is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tests.answer.schema.keywords import KEYWORDS
from tests.answer.schema.samples import INTEGER, NUMBER, TEXT, Sample, Schema, thing

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
        refused = "oneOf" if target == "step" else None  # both may hold: nothing says which
        schema = own | {"definitions": definitions}
        yield Sample(f"workflow {target} {runner}", schema, refused)


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
