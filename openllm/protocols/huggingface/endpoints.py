"""POST /generate, /generate_stream and /embed, POST / for what a client means by it, GET /info."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.routing import Route

import openllm
from openllm.config.settings import Settings
from openllm.errors import NotFound
from openllm.http.body.fields import Fields
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.llm.embedding import shortened
from openllm.protocols.huggingface.dialect import HUGGING_FACE
from openllm.protocols.huggingface.embed import OWN, answer_embed, read_embed
from openllm.protocols.huggingface.encode import TextWire
from openllm.protocols.huggingface.parse import TextRequest, read_text
from openllm.types import Prompt


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def generate(exchange: Exchange) -> None:
        request = await _text(exchange, settings, stream=False)
        await _answer_text(exchange, catalog, request)

    async def generate_stream(exchange: Exchange) -> None:
        request = await _text(exchange, settings, stream=True)
        await _answer_text(exchange, catalog, request)

    async def embed(exchange: Exchange) -> None:
        request = await exchange.read(read_embed, settings)
        await answer_embed(exchange, catalog, request)

    async def either(exchange: Exchange) -> None:
        fields = await exchange.fields()
        if wants_vectors(fields, catalog):
            vectors = await exchange.apart(read_embed, fields, settings)
            await answer_embed(exchange, catalog, vectors)
        else:
            text = await exchange.apart(read_text, fields, settings)
            await _answer_text(exchange, catalog, text, listed=True)

    async def nothing(exchange: Exchange) -> None:
        raise NotFound("There is no page here.", hint="The operator has switched it off.")

    async def info(exchange: Exchange) -> None:
        await exchange.answer_json(facts(catalog, settings))

    handlers = [
        ("POST", "/", either),
        ("POST", "/generate", generate),
        ("POST", "/generate_stream", generate_stream),
        ("POST", "/embed", embed),
        ("GET", "/info", info),
    ]
    if not settings.ui:
        handlers.append(("GET", "/", nothing))
    return [
        Route(path, Endpoint(path, handler, HUGGING_FACE), methods=[method])
        for method, path, handler in handlers
    ]


def wants_vectors(fields: Fields, catalog: Catalog) -> bool:
    """Whether a request that does not say its task is for vectors: by its fields, else by what the
    model is for.
    """
    if isinstance(fields.peek("inputs"), list) or any(map(fields.said, OWN)):
        return True
    name = fields.peek("model")
    target = catalog.find(name if isinstance(name, str) else None)
    return target.llm.spec.task == "embed"


async def _text(exchange: Exchange, settings: Settings, *, stream: bool) -> TextRequest:
    return await exchange.read(read_text, settings, stream=stream)


async def _answer_text(
    exchange: Exchange, catalog: Catalog, request: TextRequest, *, listed: bool = False
) -> None:
    target = catalog.running(request.model, "generate")
    prompt: Prompt = request.prompt
    if request.truncate is not None:
        renderer = target.llm.renderer
        prompt = await asyncio.to_thread(
            shortened, renderer, request.prompt, request.truncate, "start"
        )
    work = Work(target, [prompt], request.overrides, request.stream)
    await respond(exchange, work, TextWire(request, target, listed=listed))


def facts(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """What /info says of the caller's first model, and of this server. Errors: Forbidden."""
    llm = catalog.first.llm
    info = llm.info if llm.started else None
    embeds = llm.spec.task == "embed"
    longest = info.max_model_len if info else None
    found: dict[str, Any] = {
        "model_id": llm.name,
        "model_sha": None,
        "model_dtype": info.dtype if info else None,
        "model_device_type": info.device if info else None,
        "model_pipeline_tag": "feature-extraction" if embeds else "text-generation",
        "max_best_of": 1,
        "max_stop_sequences": settings.max_stop,
        "max_input_tokens": longest,
        "max_total_tokens": longest,
        "max_client_batch_size": settings.max_prompts,
        "router": "openllm",
        "version": openllm.__version__,
    }
    return {**found, "max_input_length": longest} if embeds else found
