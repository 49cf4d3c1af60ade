"""POST /api/embed: vectors of length 1 for one text or several; and /api/embeddings, which came
before it: one text, its vector as the model gives it.
"""

from __future__ import annotations

import time

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import MAX_DIMENSIONS
from openllm.http.catalog import Catalog
from openllm.http.embedding import as_json, embed, written
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.llm.embedding import EmbeddingOutput
from openllm.protocols.ollama.dialect import OLLAMA, PROMPT
from openllm.protocols.ollama.names import read_name, running
from openllm.protocols.ollama.params import read_options

EMBED_PATH, EARLIER_PATH = "/api/embed", "/api/embeddings"


@attrs.frozen
class EmbedRequest:
    """A parsed body."""

    model: str | None
    texts: tuple[str, ...]
    truncate: bool = True
    dimensions: int | None = None


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def answer(exchange: Exchange, request: EmbedRequest, normalize: bool) -> EmbeddingOutput:
        target = running(catalog, request.model, "embed")
        return await embed(
            exchange,
            target,
            request.texts,
            normalize=normalize,
            dimensions=request.dimensions,
            truncate="end" if request.truncate else None,
        )

    async def several(exchange: Exchange) -> None:
        request = await exchange.read(read_embed, settings)
        name = request.model or catalog.first.name
        found: dict[str, object] = {"model": name, "embeddings": []}
        tokens = 0
        if request.texts:
            output = await answer(exchange, request, normalize=True)
            found["embeddings"] = await written(output.vectors, as_json)
            tokens = output.usage.prompt_tokens
        took = int((time.perf_counter() - exchange.started) * 1e9)
        counts = {"total_duration": took, "load_duration": 0, "prompt_eval_count": tokens}
        await exchange.answer_json({**found, **counts})

    async def one(exchange: Exchange) -> None:
        request = await exchange.read(read_earlier, settings)
        vector: list[float] = []
        if request.texts:
            output = await answer(exchange, request, normalize=False)
            vector = output.vectors[0]
        await exchange.answer_json({"embedding": vector})

    return [
        Route(EMBED_PATH, Endpoint(EMBED_PATH, several, OLLAMA), methods=["POST"]),
        Route(EARLIER_PATH, Endpoint(EARLIER_PATH, one, PROMPT), methods=["POST"]),
    ]


def read_embed(fields: Fields, settings: Settings) -> EmbedRequest:
    """The body of /api/embed. No input asks for the model to be loaded. Errors: InvalidRequest."""
    model = _common(fields, settings)
    texts = fields.texts("input", most=settings.max_prompts)
    truncate = fields.flag("truncate", default=True)
    dimensions = fields.integer("dimensions", 0, MAX_DIMENSIONS)
    fields.close()
    return EmbedRequest(model, texts or (), truncate, dimensions or None)


def read_earlier(fields: Fields, settings: Settings) -> EmbedRequest:
    """The body of /api/embeddings. Errors: InvalidRequest."""
    model = _common(fields, settings)
    text = fields.text("prompt")
    fields.close()
    return EmbedRequest(model, (text,) if text else ())


def _common(fields: Fields, settings: Settings) -> str | None:
    read_options(fields, settings)  # none of them changes a vector
    fields.ignore("keep_alive")
    return read_name(fields)
