"""GET, POST and DELETE /v1/adapters: LoRA adapters mounted and removed while serving, with the
admin key only.

A source is a model-store tag (`name:version`) or a directory below the operator's adapter root.
Answers about sources never tell what the disk holds elsewhere. A removal waits for the requests
that use the adapter; new ones get 404 from then on.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    Conflict,
    InvalidRequest,
    OpenLLMError,
    WeightsError,
)
from openllm.http.body.fields import Fields, required
from openllm.http.catalog import Catalog, Target
from openllm.http.dialect import without_paths
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.llm.mounting import check_mountable
from openllm.protocols.native.dialect import NATIVE
from openllm.weights.adapters import CheckedAdapter

if TYPE_CHECKING:
    from openllm.llm.llm import LLM

PATH = "/v1/adapters"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@attrs.frozen
class AdapterRequest:
    """A parsed body."""

    name: str
    source: str
    model: str | None


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def list_adapters(exchange: Exchange) -> None:
        exchange.require_admin()
        data = [_entry(target) for target in catalog.targets() if target.adapter]
        await exchange.answer_json({"object": "list", "data": data})

    async def add_adapter(exchange: Exchange) -> None:
        exchange.require_admin()
        request = await exchange.read(read_adapter)
        target = catalog.running(request.model, "generate")
        exchange.model = target.llm.name
        if request.name in (known.name for known in catalog.targets()):
            raise Conflict(
                f"The name {request.name!r} is taken.", hint="Choose another name.", param="name"
            )
        await _mount(target.llm, request, settings)
        await exchange.answer_json(
            _entry(Target(request.name, target.llm, request.name)), status=201
        )

    async def remove_adapter(exchange: Exchange) -> None:
        exchange.require_admin()
        name = exchange.path_params["name"]
        found = [target for target in catalog.targets() if target.adapter == name]
        if not found:
            raise AdapterNotFound(
                f"There is no adapter {name[:128]!r}.", hint=f"GET {PATH} lists them."
            )
        exchange.model = found[0].llm.name
        await found[0].llm.unmount_adapter(name)
        await exchange.answer_json({"id": name, "object": "adapter", "deleted": True})

    async def collection(exchange: Exchange) -> None:
        await (add_adapter if exchange.method == "POST" else list_adapters)(exchange)

    every = Endpoint(PATH, collection, NATIVE, statuses=(200, 201))
    one = PATH + "/{name}"
    return [
        Route(PATH, every, methods=["GET", "POST"]),
        Route(one, Endpoint(one, remove_adapter, NATIVE), methods=["DELETE"]),
    ]


async def _mount(llm: LLM, request: AdapterRequest, settings: Settings) -> None:
    checked = await asyncio.to_thread(
        check_mountable, settings, request.source, llm.weights_dir, llm.max_lora_rank
    )
    try:
        await llm.mount_adapter(request.name, str(checked.path))
    except (WeightsError, ConfigurationError) as error:
        raise _told(error, checked, request.source) from None


def _entry(target: Target) -> dict[str, Any]:
    return {"id": target.name, "object": "adapter", "parent": target.llm.name}


def read_adapter(fields: Fields) -> AdapterRequest:
    """The body: name, source, and the base model where there are several. Errors:
    InvalidRequest.
    """
    name = required(fields, "name", fields.text("name"))
    if not _NAME.fullmatch(name):
        fields.bad(
            "name",
            "must be 1 to 64 letters, digits, or one of . _ - and begin with a letter or digit",
        )
    source = required(fields, "source", fields.text("source", longest=1024))
    model = fields.text("model")
    fields.close()
    return AdapterRequest(name, source, model)


def _told(error: OpenLLMError, checked: CheckedAdapter, source: str) -> InvalidRequest:
    """What a mount failed of, with the caller's word for the source in place of the path, and no
    other path.
    """
    return InvalidRequest(
        without_paths(error.text.replace(str(checked.path), source)), param="source"
    )
