"""OpenAI's responses and conversations: a model's answers as items and events, kept for a while.

To add a route: a module here with a `routes` of its own, named below.
"""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.openai.responses import conversations, create, stored
from openllm.protocols.openai.responses.background import Background
from openllm.protocols.openai.responses.shared import SharedStore
from openllm.protocols.openai.responses.store import Store


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes, over one store."""
    store = _store(settings)
    background = Background(store)
    return [
        *create.routes(catalog, settings, store, background),
        *stored.routes(store, background),
        *conversations.routes(settings, store),
    ]


def _store(settings: Settings) -> Store:
    """What keeps answers: the memory of the one worker that there is, or a file that several
    share; nothing, where they share no directory.
    """
    most, most_bytes = settings.max_stored_responses, settings.max_stored_bytes
    if settings.api_workers == 1 or not most:
        return Store(most, most_bytes)
    if settings.files_root is None:
        return Store(0, 0)
    return SharedStore(most, most_bytes, settings.files_root)
