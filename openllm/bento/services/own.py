"""A service of somebody's own class: its APIs on BentoML's application, every other path on
openllm's server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs
import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from openllm.bento.lock.image import LockedImage
from openllm.bento.services.dependency import EngineDependency, connect
from openllm.bento.services.engine import EngineService, addresses_of
from openllm.bento.services.worker import LABELS, SHARED_CONFIG, HTTPService, Worker
from openllm.config.settings import Settings
from openllm.config.words import VARIABLES
from openllm.errors import Overloaded
from openllm.http.app import Server
from openllm.http.keys.caller import ANYBODY
from openllm.llm.llm import LLM

DESCRIPTION_PATHS = ("/docs.json", "/schema.json")


class OwnWorker(Worker):
    """What the class of somebody's own gets beside its own methods."""

    bento_service: OwnService

    @property
    def llms(self) -> dict[str, LLM]:
        """The models by the names that requests use."""
        return {llm.name: llm for llm in self.bento_service.served}

    @property
    def llm(self) -> LLM:
        """The first model."""
        return self.bento_service.served[0]


@attrs.define(eq=False, slots=False)
class OwnService(HTTPService):
    """A class of somebody's own, with the engines it names and openllm's endpoints."""

    engines: tuple[EngineService, ...] = attrs.field(init=False, default=())
    served: tuple[LLM, ...] = attrs.field(init=False, default=())

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application of one worker."""
        host = super().to_asgi(is_main)  # first: it reads BentoML's configuration
        addresses = [addresses_of([engine.name]) for engine in self.engines]
        self.served = tuple(
            connect(*engine.localised(), found, self.settings)
            for engine, found in zip(self.engines, addresses, strict=True)
        )
        life = self.begin_life(
            self.served,
            self.settings,
            workers=int(self.config.get("workers") or 1),
            addresses=addresses,
        )
        own = {str(api.route) for api in self.apis.values()}
        own |= {path for _, path, _ in self.mount_apps}
        paths = (*sorted(own - {"/"}), *DESCRIPTION_PATHS)
        return OwnFront(host, life.server, paths)


def make_own_service(
    inner: type[Any],
    engines: Sequence[EngineService],
    settings: Settings,
    config: dict[str, Any],
) -> OwnService:
    """`inner` as a service over `engines`; `config` is what `bentoml.service` takes."""
    members: dict[str, Any] = {engine.name: EngineDependency(engine) for engine in engines}
    members |= {"__doc__": inner.__doc__, "__module__": inner.__module__}
    specs = [engine.choose()[0] for engine in engines]
    defaults = {
        **SHARED_CONFIG,
        "name": inner.__name__,
        "workers": settings.api_workers,
        "image": LockedImage.for_specs(tuple(specs), settings),
        "labels": dict(LABELS),
    }
    service: OwnService = bentoml.service(service_class=OwnService, **{**defaults, **config})(
        type(inner.__name__, (inner, OwnWorker), members)
    )
    service.engines, service.settings = tuple(engines), settings
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
            with self._server.limits.work(ANYBODY):
                await self._host(scope, receive, send)
        except Overloaded as error:
            body = json.dumps({"error": error.said(VARIABLES)}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"retry-after", str(error.retry_after).encode()),
            ]
            await send({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
