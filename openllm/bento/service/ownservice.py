"""A service of somebody's own class: its APIs on BentoML's application, every other path on
openllm's server.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import attrs
import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

import openllm
from openllm.bento.lock.image import LockedImage
from openllm.bento.service.engines import (
    SHARED_CONFIG,
    EngineDependency,
    EngineService,
    address_of,
    connect,
    localised,
)
from openllm.bento.service.llm_service import OPENAI_ENDPOINT, Worker
from openllm.config.settings import Settings
from openllm.config.words import VARIABLES
from openllm.errors import Overloaded
from openllm.http.app import Server, create_app
from openllm.http.auth import Rank
from openllm.http.life import Runtime
from openllm.llm.llm import LLM
from openllm.remote.peers import Peers

DESCRIPTION_PATHS = ("/docs.json", "/schema.json")


class OwnWorker(Worker):
    """What the class of somebody's own gets beside its own methods."""

    @property
    def llms(self) -> dict[str, LLM]:
        """The models by the names that requests use."""
        return {llm.name: llm for llm in self.bento_service.served}

    @property
    def llm(self) -> LLM:
        """The first model."""
        first: LLM = self.bento_service.served[0]
        return first


@attrs.define(eq=False, slots=False)
class OwnService(bentoml.Service):  # type: ignore[misc]  # bentoml has no types
    """A class of somebody's own, with the engines it names and openllm's endpoints."""

    engines: tuple[EngineService, ...] = attrs.field(init=False, default=())
    served: tuple[LLM, ...] = attrs.field(init=False, default=())
    runtime: Runtime = attrs.field(init=False, default=None)

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application of one worker."""
        settings = Settings.from_env()
        logging.getLogger("openllm").setLevel(settings.log_level.upper())
        addresses = [address_of(engine.name) for engine in self.engines]
        self.served = tuple(
            connect(*localised(engine), address)
            for engine, address in zip(self.engines, addresses, strict=True)
        )
        server = create_app(self.served, settings)
        if None not in addresses:
            server.peers = Peers(
                self.served, int(self.config.get("workers") or 1), server.metrics.report
            )
        self.runtime = Runtime(server)
        own = {str(api.route) for api in self.apis.values()} | {
            path for _, path, _ in self.mount_apps
        }
        return OwnFront(
            super().to_asgi(is_main), server, (*sorted(own - {"/"}), *DESCRIPTION_PATHS)
        )

    def on_load_bento(self, bento: Any) -> None:
        """Called by BentoML."""
        for service in self.all_services().values():
            service.bento = bento


def make_own_service(
    inner: type[Any], engines: Sequence[EngineService], config: dict[str, Any]
) -> OwnService:
    """`inner` as a service over `engines`; `config` is what `bentoml.service` takes."""
    members: dict[str, Any] = {engine.name: EngineDependency(engine) for engine in engines}
    members |= {"__doc__": inner.__doc__, "__module__": inner.__module__}
    specs = [engine.choose()[0] for engine in engines]
    defaults = {
        **SHARED_CONFIG,
        "name": inner.__name__,
        "workers": Settings.from_env().api_workers,
        "image": LockedImage.for_specs(tuple(specs)),
        "labels": {"openllm": openllm.__version__, "openai_endpoint": OPENAI_ENDPOINT},
    }
    service: OwnService = bentoml.service(service_class=OwnService, **{**defaults, **config})(
        type(inner.__name__, (inner, OwnWorker), members)
    )
    service.engines = tuple(engines)
    return service


class OwnFront:
    """Sends lifespan events and `paths` (and what is below them) to BentoML's application, the rest
    to `server`.
    """

    def __init__(self, host: ASGIApp, server: Server, paths: Sequence[str]) -> None:
        self._host = host
        self._server = server
        self._paths = frozenset(paths)
        self._below = tuple(path.rstrip("/") + "/" for path in paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._host(scope, receive, send)
        elif scope["path"] in self._paths or scope["path"].startswith(self._below):
            await self._call_own(scope, receive, send)
        else:
            await self._server(scope, receive, send)

    async def _call_own(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counted like any request: while draining it is refused, and what runs is waited for."""
        try:
            with self._server.limits.work(Rank.USER):
                await self._host(scope, receive, send)
        except Overloaded as error:
            body = json.dumps({"error": error.said(VARIABLES)}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"retry-after", str(error.retry_after).encode()),
            ]
            await send({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
