"""The routes of a server as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1)."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

import attrs
from starlette.routing import Route

import openllm
from openllm.config.settings import Settings
from openllm.errors import (
    Conflict,
    EngineError,
    Forbidden,
    InvalidRequest,
    NotFound,
    OpenLLMError,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
)
from openllm.http.dialect import Dialect, Failure
from openllm.http.openapi.bodies import body_schema
from openllm.http.openapi.probe import JSONSchema
from openllm.http.routes import Endpoint, endpoint_of

VERSION = "3.1.1"
_ALWAYS = (InvalidRequest, Unauthorized, Forbidden, NotFound, OpenLLMError, RateLimited, Overloaded)
# What a request with a body may end with beside those.
_WITH_BODY = (Conflict, RequestTimeout, PayloadTooLarge, UnsupportedMediaType, EngineError)
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_BEARER, _BASIC = "bearer", "authorization"


def document(routes: Iterable[Route], settings: Settings) -> dict[str, Any]:
    """The description of a server that has `routes`. Of several vendors' routes at one path it has
    the one for clients that do not say whose they are. It takes seconds, so call it in a thread;
    not in an event loop.
    """
    paths: dict[str, dict[str, Any]] = {}
    schemes: dict[str, Any] = {}
    locked = bool(settings.api_key or settings.api_keys_file)
    for operation in _operations(routes):
        described = operation.describe(settings)
        keys = key_schemes(operation.endpoint.dialect)
        if locked and not operation.endpoint.public:
            described["security"] = [{name: []} for name in keys]
            schemes |= keys
        methods = paths.setdefault(operation.path, {})
        methods.setdefault(operation.method.lower(), described)
    return {
        "openapi": VERSION,
        "info": {
            "title": "openllm",
            "version": openllm.__version__,
            "description": (
                "Models served by openllm. In a body, null is as good as a field left out; fields "
                "that are not known here are ignored, and named in the header x-openllm-ignored."
            ),
        },
        "paths": dict(sorted(paths.items())),
        "components": {"securitySchemes": schemes},
    }


@attrs.frozen
class _Operation:
    """One method of one route."""

    path: str  # as the document has it
    method: str
    endpoint: Endpoint

    def describe(self, settings: Settings) -> dict[str, Any]:
        dialect = self.endpoint.dialect
        module = sys.modules[self.endpoint.handler.__module__]
        said = (inspect.getdoc(module) or "").partition("\n\n")[0].replace("\n", " ")
        name = f"{self.method.lower()} {self.path}"
        found: dict[str, Any] = {
            "operationId": re.sub(r"\W+", "_", name).strip("_"),
            "summary": said,
            "tags": [module.__name__.removeprefix("openllm.protocols.").partition(".")[0]],
        }
        names = _PARAMETER.findall(self.path)
        if names:
            found["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ]
        body = body_schema(self.endpoint, settings) if self.method == "POST" else None
        if body is not None:
            content = {"application/json": {"schema": body}}
            found["requestBody"] = {"required": True, "content": content}
        errors = _ALWAYS if self.method != "POST" else (*_ALWAYS, *_WITH_BODY)
        found["responses"] = {
            **{str(status): _answer(self.endpoint, body) for status in self.endpoint.statuses},
            **dict(sorted(error_answers(dialect, errors).items())),
        }
        return found


def _operations(routes: Iterable[Route]) -> Iterator[_Operation]:
    """Those that clients who do not say whose they are get to."""
    for route in routes:
        endpoint = endpoint_of(route)
        if endpoint.shared or not endpoint.described:
            continue
        path = _PARAMETER.sub(r"{\1}", route.path)
        for method in _METHODS:
            if method in (route.methods or ()):
                yield _Operation(path, method, endpoint)


def _answer(endpoint: Endpoint, body: JSONSchema | None) -> dict[str, Any]:
    """An answer that is no error: what it looks like is the vendor's to say."""
    if body is None:
        return {"description": "The answer."}
    content: dict[str, Any] = {_media_type(endpoint.content_type): {}}
    if "stream" in body.get("properties", ()):
        content[_media_type(endpoint.dialect.framing.content_type)] = {}
    return {"description": "The answer, whole or streamed.", "content": content}


def _media_type(content_type: bytes) -> str:
    return content_type.decode().partition(";")[0]


def error_answers(
    dialect: Dialect, errors: Sequence[type[OpenLLMError]]
) -> dict[str, dict[str, Any]]:
    """What the `errors` look like in `dialect`, by their statuses there."""
    found = {}
    for kind in errors:
        status = dialect.status(kind("What went wrong."))
        failure = Failure(status, kind.kind, "What went wrong.", "a field", "a_code")
        schema = shape_of(dialect.error(failure))
        content = {dialect.content_type.decode(): {"schema": schema}}
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Overloaded"
        found[str(status)] = {"description": phrase, "content": content}
    return found


def shape_of(value: Any) -> JSONSchema:
    """The schema of values that look like `value`; any field but its texts may be null."""
    if not isinstance(value, dict):
        return {"type": ["string", "null"]} if isinstance(value, str) else {}
    properties = {name: shape_of(inner) for name, inner in value.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def key_schemes(dialect: Dialect) -> dict[str, Any]:
    """Where the clients of `dialect` put a key, as security schemes by name."""
    found: dict[str, Any] = {}
    for header in dialect.key_headers:
        name = header.decode()
        if name == _BASIC:
            found[_BEARER] = {"type": "http", "scheme": "bearer"}
        elif name.endswith("api-key"):
            found[name] = {"type": "apiKey", "in": "header", "name": name}
    return found
