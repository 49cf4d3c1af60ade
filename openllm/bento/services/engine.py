"""Engines as BentoML services of their own: a process that `bentoml serve` starts, supervises and
gives its GPUs.

No HTTP passes between them and the service that depends on them: BentoML's Unix socket only says
where ours is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import bentoml
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from openllm.bento.pack.sources import localise
from openllm.bento.services.front import Front
from openllm.bento.services.references import carry_sources, find_source
from openllm.bento.services.worker import SHARED_CONFIG, log_in
from openllm.bento.supervision import keep_commands_private
from openllm.config.settings import Settings, restrict_devices
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, OpenLLMError
from openllm.hardware.gpus import share_replicas, visible_devices
from openllm.llm.llm import LLM
from openllm.remote.server import EngineServer

logger = logging.getLogger("openllm")

LAST_WORDS_SECONDS = 0.5  # for users to hear that the engine is dead
USERS_SECONDS = 5.0  # that users get beyond the time to drain


class EngineWorker:
    """The inner class of every engine's service: brings the engine up, and down when its users are
    gone.
    """

    bento_service: EngineService  # set by BentoML on each instance

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # bentoml has no types
    async def begin(self) -> None:
        await self.bento_service.begin()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # bentoml has no types
    async def end(self) -> None:
        await self.bento_service.end()

    async def __is_ready__(self) -> bool:
        return self.bento_service.ready


@attrs.define(eq=False, slots=False)
class EngineService(bentoml.Service):  # type: ignore[misc]  # bentoml has no types
    """One engine. `choose` gives the spec in force and the GPUs it may see (None: all), once the
    process runs; `settings` are what the process that made the service was told.
    """

    choose: Callable[[], tuple[LLMSpec, str | None]] = attrs.field(init=False, default=None)
    settings: Settings = attrs.field(init=False, factory=Settings)
    sources: tuple[tuple[str, Any], ...] = attrs.field(init=False, default=())
    ends_when_dead: bool = attrs.field(init=False, default=False)  # to be started again
    _ending: asyncio.Task[None] | None = attrs.field(init=False, default=None)
    _server: EngineServer | None = attrs.field(init=False, default=None)
    _starting: asyncio.Task[None] | None = attrs.field(init=False, default=None)
    _served: LLM | None = attrs.field(init=False, default=None)

    @property
    def ready(self) -> bool:
        return self._served is not None and self._served.started and self._served.failure is None

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application of the engine's process: nothing but its lifespan and health."""
        log_in(self.settings, "engine")
        _, devices = self.choose()
        if devices is not None:
            restrict_devices(devices)
            self.settings = attrs.evolve(self.settings, visible_devices=devices)
        self._served = LLM.from_spec(*self.localised(), settings=self.settings)
        host = super().to_asgi(is_main)

        async def health(scope: Scope, receive: Receive, send: Send) -> None:
            status = 200 if self.ready else 503
            if scope.get("path") not in ("/livez", "/readyz", "/healthz"):
                status = 404
            await PlainTextResponse("", status)(scope, receive, send)

        return Front(host, health)

    def localised(self) -> tuple[LLMSpec, Path | None]:
        """The spec in force with directories in place of store tags, and where its weights are."""
        spec, _ = self.choose()
        return localise(spec, partial(find_source, self))

    async def begin(self) -> None:
        """Listen at once, and load meanwhile."""
        address = address_of(self.name)
        if address is None or self._served is None:
            raise ConfigurationError(
                f"{self.name} is served by itself.", hint="Serve the service that depends on it."
            )
        self._server = EngineServer(self._served, address)
        await self._server.listen()
        self._starting = asyncio.create_task(self._server.start())
        self._starting.add_done_callback(self._started)
        if self.ends_when_dead:
            self._ending = asyncio.create_task(self._end_when_dead(self._starting, self._server))

    async def _end_when_dead(self, starting: asyncio.Task[None], server: EngineServer) -> None:
        """End this process once its engine is dead, or could not start: another one follows."""
        await asyncio.wait((starting,))
        if not starting.cancelled() and starting.exception() is None and server.dead is not None:
            logger.error("The engine of %s has stopped: %s.", server.llm.name, await server.dead)
        await asyncio.sleep(LAST_WORDS_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    def _started(self, task: asyncio.Task[None]) -> None:
        """An engine that cannot start has told its users why; BentoML's supervisor decides what
        becomes of it.
        """
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s", error, exc_info=None if isinstance(error, OpenLLMError) else error)

    async def end(self) -> None:
        """Wait for the users to drain and leave, then stop."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        if self._ending is not None:
            self._ending.cancel()
        if self._server is not None:
            self._server.leave_off()
            await self._server.wait_unused(self.settings.drain_seconds + USERS_SECONDS)
            await self._server.close()


def make_engine_service(
    name: str,
    specs: Sequence[LLMSpec],
    at: int,
    settings: Settings,
    *,
    number: int = 0,
    **config: Any,
) -> EngineService:
    """The service of `specs[at]`, one of those that are served together, or of its replica
    `number`; `config` is BentoML's.
    """
    keep_commands_private()
    service: EngineService = bentoml.service(
        name=name, service_class=EngineService, **{**SHARED_CONFIG, **config}
    )(type("EngineOf" + name, (EngineWorker,), {}))
    mask = settings.visible_devices
    engine = specs[at].engines()[number]
    service.choose = lambda: (engine, share_replicas(specs, visible_devices(mask))[at][number])
    service.settings = settings
    carry_sources(service, specs[at : at + 1], settings)
    return service


def make_replica_services(
    name: str, specs: Sequence[LLMSpec], at: int, settings: Settings
) -> tuple[EngineService, ...]:
    """The services of the replicas of `specs[at]`; of one engine, where there are none."""
    spec = specs[at]
    if spec.replicas == 1:
        return (make_engine_service(name, specs, at, settings),)
    found = []
    for number in range(spec.replicas):
        service = make_engine_service(f"{name}_{number}", specs, at, settings, number=number)
        service.ends_when_dead = True
        found.append(service)
    return tuple(found)


def addresses_of(names: Sequence[str]) -> tuple[Path, ...]:
    """Where the engines of these services listen; nowhere, where BentoML has started none. Errors:
    those of `address_of`.
    """
    return tuple(place for name in names if (place := address_of(name)) is not None)


def address_of(name: str) -> Path | None:
    """Where the engine of service `name` listens: beside the socket that BentoML has made for it.
    None: nowhere.

    Errors: ConfigurationError when BentoML was told to use TCP between processes.
    """
    from bentoml._internal.configuration.containers import BentoMLContainer

    url = BentoMLContainer.remote_runner_mapping.get().get(name)
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise ConfigurationError(
            "Engines are reached over Unix sockets only.",
            hint="Unset BENTOML_NO_UDS; WSL and Windows cannot do this.",
        )
    return (
        Path(unquote(parts.path)).parent
        / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.engine"
    )
