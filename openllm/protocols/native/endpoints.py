"""POST /v1/generate, /v1/generate_stream and /v1/requests/{id}/cancel; GET /v1/metadata."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.routing import Route

import openllm
from openllm.config.settings import Settings
from openllm.errors import AdapterNotFound, NotFound, call
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.protocols.native.dialect import NATIVE
from openllm.protocols.native.earlier import HEADER, EarlierWire
from openllm.protocols.native.encode import NativeWire
from openllm.protocols.native.parse import NativeRequest, read_native
from openllm.types import Conversation

CHAT = NATIVE.renamed(prompt="messages")
# Settings that whoever attaches images has to know, in bytes and pixels.
LIMITS = ("max_body_bytes", "max_images", "max_image_bytes", "max_image_pixels")


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def run(exchange: Exchange, stream: bool) -> None:
        request = await exchange.read(read_native, settings)
        if isinstance(request.prompt, Conversation):
            exchange.dialect = CHAT
        target = _target(catalog, request)
        exchange.rename(request.request_id)
        overrides, wire = request.overrides, _wire(exchange, request, target)
        if isinstance(wire, EarlierWire):
            overrides = {"logprobs": 0, **overrides}  # of which it wants the sum
        work = Work(
            target,
            [request.prompt],
            overrides,
            stream,
            request.add_special_tokens,
            options=request.options,
        )
        await respond(exchange, work, wire)

    async def generate(exchange: Exchange) -> None:
        await run(exchange, stream=False)

    async def generate_stream(exchange: Exchange) -> None:
        await run(exchange, stream=True)

    async def cancel(exchange: Exchange) -> None:
        request_id = exchange.path_params["request_id"]
        if not exchange.shared.live.cancel(request_id, exchange.caller):
            raise NotFound(
                f"There is no running request {request_id[:128]!r} of this key.",
                hint="It may have ended; each API worker knows its own requests alone.",
            )
        await exchange.answer_json({"id": request_id, "status": "cancelled"})

    async def metadata(exchange: Exchange) -> None:
        await exchange.answer_json(metadata_of(catalog, settings))

    handlers = (
        ("POST", "/v1/generate", generate),
        ("POST", "/v1/generate_stream", generate_stream),
        ("POST", "/v1/requests/{request_id}/cancel", cancel),
        ("GET", "/v1/metadata", metadata),
    )
    return [
        Route(path, Endpoint(path, handler, NATIVE), methods=[method])
        for method, path, handler in handlers
    ]


def _wire(exchange: Exchange, request: NativeRequest, target: Target) -> NativeWire | EarlierWire:
    if HEADER not in exchange.headers:
        return NativeWire(exchange.request_id, target)
    asked = request.overrides.get("logprobs") is not None
    return EarlierWire(exchange.request_id, request.prompt, asked)


def _target(catalog: Catalog, request: NativeRequest) -> Target:
    target = catalog.running(request.model, "generate")
    if request.adapter is None:
        return target
    if request.adapter not in target.llm.adapters:
        raise AdapterNotFound(
            f"There is no adapter {request.adapter[:128]!r}.",
            hint=f"{call('LLM.adapters')} lists them.",
            param="adapter",
        )
    return attrs.evolve(target, adapter=request.adapter)


def metadata_of(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """What is served, to whom this request comes from, and how large what it sends may be."""
    named = [target for target in catalog.targets() if target.name == target.llm.name]
    models = list(map(describe, named))
    limits = {name: getattr(settings, name) for name in LIMITS}
    said = {"openllm_version": openllm.__version__, "limits": limits}
    return {**said, **models[0], "models": models}


def describe(target: Target) -> dict[str, Any]:
    """What the metadata say of one model; nothing of the disk, and nothing that needs the engine's
    attention.
    """
    llm = target.llm
    info = llm.info if llm.started else None
    return {
        "model_id": llm.name,
        "model_name": llm.spec.family,
        "task": llm.spec.task,
        "backend": llm.backend.name if llm.started else llm.spec.backend,
        "dtype": info.dtype if info else None,
        "device": info.device if info else None,
        "max_model_len": info.max_model_len if info else None,
        "input_modalities": list(llm.input_modalities) if info else None,
        "adapters": list(llm.adapters),
        "configuration": dict(llm.spec.sampling),
        "ready": llm.started and llm.failure is None,
    }
