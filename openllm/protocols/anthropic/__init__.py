"""Anthropic's wire format: messages, whole and streamed, their tokens counted, and models.

To add one: a module with a `routes` of its own, named below.
"""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.anthropic import endpoints, models


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes of this format."""
    return [*endpoints.routes(catalog, settings), *models.routes(catalog)]
