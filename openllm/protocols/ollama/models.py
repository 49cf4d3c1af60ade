"""GET /api/tags, /api/ps and /api/version, POST /api/show: what is served, with the facts that
Ollama's clients look for.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.config.sizes import readable_count
from openllm.errors import InvalidRequest, UnsupportedFeature, WeightsError, call
from openllm.hardware.shape import hidden_size
from openllm.http.body.fields import Fields
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.framing import timestamp
from openllm.http.routes import Endpoint, Handler
from openllm.protocols.ollama.dialect import OLLAMA
from openllm.protocols.ollama.names import find, read_name, tagged
from openllm.protocols.ollama.params import thinks
from openllm.weights.checkpoint import read_config, tensor_shapes, weights_size

VERSION = "0.13.0"  # of Ollama, whose API this is: clients ask for one that is new enough
NEVER = "2318-01-01T00:00:00Z"  # when a model is unloaded
# What the operator does, not a client: method, path, what to call it.
_REFUSED = (
    ("POST", "/api/pull", "pulled"),
    ("POST", "/api/push", "pushed"),
    ("POST", "/api/create", "created"),
    ("POST", "/api/copy", "copied"),
    ("DELETE", "/api/delete", "deleted"),
    ("POST", "/api/blobs/{digest}", "uploaded"),
)
_LEVELS = {"float32": "F32", "float16": "F16", "half": "F16", "bfloat16": "BF16"}


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def tags(exchange: Exchange) -> None:
        cards = [await asyncio.to_thread(card, target) for target in catalog.targets()]
        await exchange.answer_json({"models": cards})

    async def ps(exchange: Exchange) -> None:
        targets = [target for target in catalog.targets() if target.llm.started]
        cards = [await asyncio.to_thread(running_card, target) for target in targets]
        await exchange.answer_json({"models": cards})

    async def show(exchange: Exchange) -> None:
        name = await exchange.read(read_show)
        await exchange.answer_json(await asyncio.to_thread(facts, find(catalog, name)))

    async def root(exchange: Exchange) -> None:
        await exchange.answer(200, b"Ollama is running", b"text/plain; charset=utf-8")

    async def version(exchange: Exchange) -> None:
        await exchange.answer_json({"version": VERSION})

    handlers: list[tuple[str, str, Handler]] = [
        ("GET", "/api/tags", tags),
        ("GET", "/api/ps", ps),
        ("POST", "/api/show", show),
        ("GET", "/api/version", version),
        *((method, path, _refuse(what)) for method, path, what in _REFUSED),
    ]
    own = [
        Route(path, Endpoint(path, handler, OLLAMA), methods=[method])
        for method, path, handler in handlers
    ]
    # which clients ask to see whether the server is up; for browsers there is the chat page
    return [*own, Route("/", Endpoint("/", root, OLLAMA, shared=True), methods=["GET"])]


def _refuse(what: str) -> Handler:
    async def refuse(exchange: Exchange) -> None:
        raise UnsupportedFeature(
            f"Models cannot be {what} here: this server has those it was started with.",
            hint=f"{call('models')} lists them.",
        )

    return refuse


def read_show(fields: Fields) -> str | None:
    """The body of /api/show. Errors: InvalidRequest."""
    name = read_name(fields)
    fields.ignore("verbose", "system", "template", "options")
    fields.close()
    return name


def card(target: Target) -> dict[str, Any]:
    """One entry of the list. Reads the headers of the weights, once."""
    llm, name = target.llm, tagged(target.name)
    whole = f"{target.name} {target.fingerprint}"
    return {
        "name": name,
        "model": name,
        "modified_at": timestamp(llm.created),
        "size": weights_size(llm.weights_dir) if llm.started else 0,
        "digest": hashlib.sha256(whole.encode()).hexdigest(),
        "details": _details(target),
    }


def running_card(target: Target) -> dict[str, Any]:
    """One entry of the list of loaded models."""
    found = card(target)
    del found["modified_at"]
    on_gpu = not target.llm.info.device.startswith("cpu")
    size = {"size_vram": found["size"] if on_gpu else 0}
    length = {"context_length": target.llm.max_model_len}
    return {**found, "expires_at": NEVER, **size, **length}


def facts(target: Target) -> dict[str, Any]:
    """What /api/show says of a model. Errors: InvalidRequest while it loads."""
    llm = target.llm
    if not llm.started:
        raise InvalidRequest(f"{llm.name} is still loading.", hint="Try again in a moment.")
    family = llm.config.name
    info = {
        "general.architecture": family,
        "general.basename": target.name,
        "general.parameter_count": _parameters(llm.weights_dir),
        f"{family}.context_length": llm.max_model_len,
        f"{family}.embedding_length": hidden_size(read_config(llm.weights_dir)),
    }
    defaults = "\n".join(f"{name} {value}" for name, value in llm.spec.sampling.items())
    return {
        "modelfile": f"FROM {tagged(target.name)}\n",
        "parameters": defaults,
        "template": llm.renderer.source(tools=False),
        "details": _details(target),
        "model_info": info,
        "capabilities": _capabilities(target),
        "modified_at": timestamp(llm.created),
    }


def _capabilities(target: Target) -> list[str]:
    """Tools work with every chat model: one whose template shows none is told them."""
    if target.llm.spec.task == "embed":
        return ["embedding"]
    if not target.llm.renderer.has_template:
        return ["completion"]
    sees = ["vision"] if "image" in target.llm.input_modalities else []
    return ["completion", "tools", *sees, *(["thinking"] if thinks(target) else [])]


def _details(target: Target) -> dict[str, Any]:
    llm = target.llm
    family = llm.config.name if llm.started else llm.spec.family or ""
    dtype = llm.info.dtype if llm.started else ""
    return {
        "parent_model": tagged(llm.name) if target.adapter else "",
        "format": "safetensors",
        "family": family,
        "families": [family],
        "parameter_size": readable_count(_parameters(llm.weights_dir)) if llm.started else "",
        "quantization_level": (llm.spec.quantization or _LEVELS.get(dtype, dtype)).upper(),
    }


@lru_cache(maxsize=64)
def _parameters(directory: Path) -> int:
    """Numbers in the weights' tensors; 0 where there is nothing that can be read."""
    try:
        return sum(prod(shape) for shape in tensor_shapes(directory).values())
    except (OSError, WeightsError):
        return 0
