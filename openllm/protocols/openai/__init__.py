"""OpenAI's wire format: chat, completions, responses, decisions, embeddings, models and token
ids; Azure's paths of it, and what vLLM has beside it.

To add a route: a module here with a `routes` of its own, named below.
"""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.protocols.openai import (
    absent,
    chat,
    completions,
    decisions,
    embeddings,
    models,
    responses,
    scoring,
    tokens,
)
from openllm.protocols.openai.batch import endpoints as batches
from openllm.protocols.openai.deployments import deployed


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    """All routes of this format."""
    modules = (chat, completions, responses, decisions, embeddings, scoring, models, tokens)
    found = [route for module in modules for route in module.routes(catalog, settings)]
    return [
        *found,
        *deployed(found),
        *batches.routes(catalog, settings),
        *absent.routes(catalog, settings),
    ]
