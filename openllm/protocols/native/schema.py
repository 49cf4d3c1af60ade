"""GET /schema.json: our own routes as BentoML's client asks for a service's methods, made from the
types of a request.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

import openllm
from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.openapi.types import sampling_types
from openllm.http.routes import Endpoint
from openllm.protocols.native.dialect import NATIVE

PATH = "/schema.json"
_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def schema(exchange: Exchange) -> None:
        await exchange.answer_json(service_schema(catalog.first.name))

    return [Route(PATH, Endpoint(PATH, schema, NATIVE), methods=["GET"])]


def service_schema(name: str) -> dict[str, Any]:
    """The description of a BentoML service called `name`."""
    asked = {"title": "Input", "type": "object", "properties": properties(), "required": []}
    whole = {**_OBJECT, "title": "Output"}
    pieces = {**_TEXT, "title": "Events", "is_stream": True}
    methods = (
        ("generate", "The whole answer to a prompt or to messages.", whole),
        ("generate_stream", "Its events as they come, as text.", pieces),
    )
    return {
        "name": name,
        "type": "service",
        "description": f"openllm {openllm.__version__}",
        "routes": [
            {
                "name": method,
                "route": f"/v1/{method}",
                "doc": doc,
                "batchable": False,
                "input": asked,
                "output": output,
            }
            for method, doc, output in methods
        ],
    }


def properties() -> dict[str, dict[str, Any]]:
    """The fields of a native request as JSON schemas."""
    found: dict[str, dict[str, Any]] = {
        "prompt": _TEXT,
        "messages": {"type": "array", "items": _OBJECT},
        "model": _TEXT,
        "adapter_name": _TEXT,
    }
    return found | {NATIVE.field(name): schema for name, schema in sampling_types().items()}
