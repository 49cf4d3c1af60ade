"""openllm's own interface: texts or token ids in, both out, and what is served."""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.native import earlier_endpoints, endpoints, schema


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes of this format."""
    rooms = (endpoints, earlier_endpoints, schema)
    return [route for room in rooms for route in room.routes(catalog, settings)]
