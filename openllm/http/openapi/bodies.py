"""What body a route takes: its handler is run on small bodies, up to where it has read each, and
what it asks for is noted.

So no list of fields has to be kept beside the code that reads them. Nothing is done that a request
would do: a handler gets no further than to the end of its body.
"""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import attrs

from openllm.config.settings import Settings
from openllm.errors import OpenLLMError
from openllm.http.dialect import Dialect
from openllm.http.openapi.probe import BodyRead, JSONSchema, Notes, Probe, plain
from openllm.http.openapi.types import sampling_types
from openllm.http.routes import Endpoint

P = ParamSpec("P")
T = TypeVar("T")
MOST_BODIES = 2000  # that one handler is run on
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
_ANYTHING: tuple[Any, ...] = ("x", [{}], {})  # samples of a field whose type is not noted


class _NotHere(BaseException):
    """A handler wants of a request what only a real one has."""


class _Asked:
    """As much of an `Exchange` as a handler needs until it has read the body."""

    method = "POST"
    owner = ""
    large_body = True  # so that it is read by `apart`, not where its answer is kept

    def __init__(self, body: Mapping[str, Any], notes: Notes, strict: bool, dialect: Dialect):
        self.path_params = _AnyName()
        self.said: dict[str, Any] = {}
        self.dialect = dialect
        self.has_read = False
        self._body, self._notes, self._strict = body, notes, strict

    async def fields(self) -> Probe:
        self.has_read = True
        body = {**copy.deepcopy(self._body), **self.said}
        return Probe(body, self._notes, ignored=None if self._strict else [])

    async def apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return work(*args, **kwargs)

    async def read(
        self, read: Callable[Concatenate[Probe, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return read(await self.fields(), *args, **kwargs)

    def require_admin(self) -> None:
        """Whoever asks for this has been let in."""

    def __getattr__(self, name: str) -> Any:
        raise _NotHere


class _AnyName(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "x"


@attrs.frozen
class _Run:
    """What became of one body."""

    has_read: bool
    complete: bool  # all of it was read, and nothing was wrong
    missing: str | None = None  # the field that is required


def body_schema(endpoint: Endpoint, settings: Settings) -> JSONSchema | None:
    """The JSON schema of the body that `endpoint` reads on a POST; None where it reads none as
    JSON. Call it outside of an event loop.
    """
    notes = Notes()
    if not _run(endpoint, {}, notes, settings).has_read:
        return None
    required = _explore(endpoint, notes, settings)
    return _Assembly(notes, required, _typed(endpoint.dialect)).schema("")


def _run(endpoint: Endpoint, body: Mapping[str, Any], notes: Notes, settings: Settings) -> _Run:
    asked: Any = _Asked(body, notes, settings.strict_fields, endpoint.dialect)
    handler = endpoint(asked)
    complete, missing = False, None
    try:
        handler.send(None)
    except BodyRead:
        complete = True
    except OpenLLMError as error:
        if error.code == "missing_field":
            missing = error.param
    except (_NotHere, StopIteration, RuntimeError):
        pass  # it waits for something before it reads, or reads no body
    finally:
        handler.close()
    return _Run(asked.has_read, complete, missing)


def _explore(endpoint: Endpoint, notes: Notes, settings: Settings) -> dict[str, set[str]]:
    """Run the handler on bodies until nothing new is asked for: each field that is noted is tried
    with samples of what it may be, in the body in which it was noted first. Returns the required
    fields of each object.
    """
    needed: dict[str, set[str]] = {}
    always: dict[str, set[str]] = {}  # what each object of every complete body had
    tried: set[tuple[str, str, str]] = set()
    waiting: deque[dict[str, Any]] = deque([{}])
    for _ in range(MOST_BODIES):
        if not waiting:
            break
        body = waiting.popleft()
        seen = Notes()
        run = _run(endpoint, body, seen, settings)
        for place, fields in seen.objects.items():
            notes.objects.setdefault(place, {})
            for name, schema in fields.items():
                notes.add(place, name, schema)
        if run.missing is not None:
            place, name = _split(plain(run.missing))
            needed.setdefault(place, set()).add(name)
            for sample in _samples(seen.objects.get(place, {}).get(name, {})):
                waiting.append(_with(body, run.missing, sample))
            if place:
                continue
        if run.complete:
            for where, found in _containers(body):
                always[plain(where)] = always.get(plain(where), set(found)) & set(found)
        waiting.extend(_variants(body, seen, tried))
    return {place: names & always.get(place, names) for place, names in needed.items()}


def _variants(
    body: Mapping[str, Any], seen: Notes, tried: set[tuple[str, str, str]]
) -> Iterator[dict[str, Any]]:
    """The body with one more field, for each that was asked for and each sample of it."""
    for place, found in _containers(body):
        where = plain(place)
        asked = seen.objects.get(where, {})
        kinds = {name: value for name, value in found.items() if _named(asked.get(name, {}))}
        for name, schema in asked.items():
            if (where, name) in seen.whole:
                continue
            # of the body itself any field may stand in for one that is required
            for sample in _telling(schema) if where or schema else _samples(schema):
                key = (where, name, f"{sample!r} {kinds!r}")
                if found.get(name) != sample and key not in tried:
                    tried.add(key)
                    yield _with(body, f"{place}.{name}" if place else name, sample)


def _containers(value: Any, place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every object in a body, with its place."""
    if isinstance(value, dict):
        yield place, value
        for name, inner in value.items():
            yield from _containers(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _containers(inner, f"{place}[{at}]")


def _named(schema: JSONSchema) -> Sequence[Any]:
    """The values that the handler knows by name."""
    known: Sequence[Any] = schema.get("enum") or schema.get("examples") or ()
    return known


def _telling(schema: JSONSchema) -> tuple[Any, ...]:
    """Samples by which it may be told what else is read: no number, and no text but a name."""
    if known := _named(schema):
        return tuple(known)
    return tuple(one for one in _samples(schema) if isinstance(one, bool | dict | list))


def _samples(schema: JSONSchema) -> tuple[Any, ...]:
    """Values of what a field may be."""
    if known := _named(schema):
        return tuple(known)
    if "anyOf" in schema:
        return tuple(sample for one in schema["anyOf"] for sample in _samples(one))
    samples: dict[Any, tuple[Any, ...]] = {
        "string": ("x",),
        "boolean": (True,),
        "integer": (max(schema.get("minimum", 1), 1),),
        "object": ({},),
        "array": (["x"] if schema.get("items", {}).get("type") == "string" else [{}],),
    }
    return samples.get(schema.get("type"), _ANYTHING)


def _with(body: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `body` with `value` at `path`, whose containers are there."""
    changed: Any = copy.deepcopy(dict(body))
    *steps, last = [name or int(at) for name, at in _STEP.findall(path)]
    inner = changed
    for step in steps:
        inner = inner[step]
    inner[last] = copy.deepcopy(value)
    return dict(changed)


def _split(path: str) -> tuple[str, str]:
    place, _, name = path.rpartition(".")
    return place, name


@attrs.frozen
class _Assembly:
    """Notes, put together to one schema."""

    notes: Notes
    required: Mapping[str, set[str]]
    typed: Mapping[str, JSONSchema]  # by their full names, fields whose types are known otherwise

    def schema(self, place: str) -> JSONSchema:
        """The schema of the object at `place`."""
        found: JSONSchema = {"type": "object"}
        properties = {
            name: self._field(f"{place}.{name}" if place else name, schema)
            for name, schema in self.notes.objects.get(place, {}).items()
        }
        if properties:
            found["properties"] = properties
        if required := sorted(self.required.get(place, ())):
            found["required"] = required
        return found

    def _field(self, path: str, schema: JSONSchema) -> JSONSchema:
        schema = schema or self.typed.get(path, {})
        if path in self.notes.objects:
            schema = self._where("object", schema, self.schema(path))
        if f"{path}[]" in self.notes.objects:
            schema = self._where("array", schema, {"items": self.schema(f"{path}[]")})
        return schema

    @staticmethod
    def _where(kind: str, schema: JSONSchema, said: JSONSchema) -> JSONSchema:
        """`schema`, with what is `said` of its values of one kind. Where nothing has said that
        there are no others, it says nothing of those.
        """
        if schema.get("type") == kind and ("items" in schema) == ("items" in said):
            return {**schema, **said}
        loose = {name: value for name, value in said.items() if name != "type"}
        if "items" in loose:
            loose["items"] = {k: v for k, v in loose["items"].items() if k != "type"}
        return {**schema, **loose}


def _typed(dialect: Dialect) -> dict[str, JSONSchema]:
    """The fields that every protocol hands on as they are, by the vendor's names of them."""
    return {dialect.field(name): schema for name, schema in sampling_types().items()}
