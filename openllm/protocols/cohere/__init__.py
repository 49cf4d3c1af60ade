"""Cohere's wire format: chat, embeddings and reranking of its version 2, token ids, and what its
clients ask about models.

To add a route: a module here with a `routes` of its own, named below.
"""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.cohere import chat, embed, models, rerank, tokens


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes of this format."""
    modules = (chat, embed, rerank, models, tokens)
    return [route for module in modules for route in module.routes(catalog, settings)]
