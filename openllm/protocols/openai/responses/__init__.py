"""OpenAI's responses and conversations: a model's answers as items and events, kept for a while.

To add a route: a module here with a `routes` of its own, named below.
"""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.openai.responses import conversations, create, stored
from openllm.protocols.openai.responses.background import Background
from openllm.protocols.openai.responses.store import Store


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes, over one store."""
    store = Store(settings.max_stored_responses, settings.max_stored_bytes)
    background = Background(store)
    return [
        *create.routes(catalog, settings, store, background),
        *stored.routes(store, background),
        *conversations.routes(store),
    ]
