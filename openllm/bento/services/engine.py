"""Engines as BentoML services of their own: a process that `bentoml serve` starts, supervises and
gives its GPUs.

No HTTP passes between them and the service that depends on them: BentoML's Unix socket only says
where ours is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import bentoml
from bentoml.models import BentoModel
from starlette.responses import PlainTextResponse

from openllm.bento.pack.sources import inside_sources, localise
from openllm.bento.services.front import Front
from openllm.bento.services.references import reference_to
from openllm.config.settings import Settings, restrict_devices
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, OpenLLMError
from openllm.hardware.assignment import share_devices, visible_devices
from openllm.llm.llm import LLM
from openllm.remote.backend import RunnerBackend
from openllm.remote.server import EngineServer
from openllm.weights.store import is_tag

# The base of BentoML's dependencies; `bentoml.depends` is a function around it.
Dependency: type[Any] = bentoml.Dependency

logger = logging.getLogger("openllm")

# Of every service of ours. BentoCloud's gateway goes by the timeout; here nothing cuts a long
# answer off.
SHARED_CONFIG: Mapping[str, Any] = {
    "traffic": {"timeout": 24 * 3600},
    "workers": 1,
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}
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
    process runs.
    """

    choose: Callable[[], tuple[LLMSpec, str | None]] = attrs.field(init=False, default=None)
    sources: tuple[tuple[str, Any], ...] = attrs.field(init=False, default=())
    _server: EngineServer | None = attrs.field(init=False, default=None)
    _starting: asyncio.Task[None] | None = attrs.field(init=False, default=None)
    _served: LLM | None = attrs.field(init=False, default=None)

    @property
    def ready(self) -> bool:
        return self._served is not None and self._served.started and self._served.failure is None

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application of the engine's process: nothing but its lifespan and health."""
        _, devices = self.choose()
        if devices is not None:
            restrict_devices(devices)
        logging.getLogger("openllm").setLevel(Settings.from_env().log_level.upper())
        self._served = LLM.from_spec(*localised(self))
        host = super().to_asgi(is_main)

        async def health(scope: Any, receive: Any, send: Any) -> None:
            known = scope.get("path") in ("/livez", "/readyz", "/healthz")
            status = 404 if not known else 200 if self.ready else 503
            await PlainTextResponse("", status)(scope, receive, send)

        return Front(host, health)

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
        if self._server is not None:
            await self._server.wait_unused(Settings.from_env().drain_seconds + USERS_SECONDS)
            await self._server.close()


def make_engine_service(
    name: str, specs: Sequence[LLMSpec], at: int, **config: Any
) -> EngineService:
    """The service of `specs[at]`, one of those that are served together; `config` is BentoML's."""
    service: EngineService = bentoml.service(
        name=name, service_class=EngineService, **{**SHARED_CONFIG, **config}
    )(type("EngineOf" + name, (EngineWorker,), {}))
    service.choose = lambda: (specs[at], share_devices(specs, visible_devices())[at])
    service.sources = tuple(
        (source, reference_to(source, specs[at])) for source in inside_sources(specs[at])
    )
    service.models = [reference for _, reference in service.sources]
    return service


class EngineDependency(Dependency):  # type: ignore[misc]  # bentoml has no types
    """What makes BentoML start an engine's process beside a service; its value in the service is
    None.
    """

    def get(self) -> None:
        return None


class LLMDependency(Dependency):  # type: ignore[misc]  # bentoml has no types
    """An engine's service as the attribute of another: its value is an `LLM`."""

    _resolved: LLM | None  # kept by BentoML

    def get(self) -> LLM:
        """An LLM over the engine's process; where BentoML starts none (development mode, a script),
        one in this one.
        """
        found: LLM = self._resolved or remote_llm(self.on)
        return found

    async def close(self) -> None:
        """Called by BentoML when the service ends."""
        llm, self._resolved = self._resolved, None
        if llm is not None:
            await llm.aclose()


def remote_llm(service: EngineService) -> LLM:
    """An LLM over the engine that `service` stands for."""
    return connect(*localised(service), address_of(service.name))


def localised(service: EngineService) -> tuple[LLMSpec, Path | None]:
    """The spec in force with directories in place of store tags, and where its weights are."""
    spec, _ = service.choose()
    return localise(spec, lambda source: find_source(service, service.sources, source))


def connect(spec: LLMSpec, weights_dir: Path | None, address: Path | None) -> LLM:
    """An LLM whose engine listens at `address`; None: with an engine of its own in this process."""
    if address is None:
        return LLM.from_spec(spec, weights_dir)
    reason = f"Backend {spec.backend or 'chosen there'}: in a process of its own."
    return LLM.from_spec(
        spec, weights_dir, lambda spec, place: (RunnerBackend(spec, place, address), reason)
    )


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


def find_source(service: Any, sources: tuple[tuple[str, Any], ...], source: str) -> Path | None:
    """The directory of a source that the Bento, or the store, has; None leaves it to
    `openllm.weights.resolve`.
    """
    references = dict(sources)
    kept = (
        next(
            (info.models for info in service.bento.info.services if info.name == service.name), None
        )
        if (service.bento)
        else None
    )
    if kept is not None:
        references = {
            name: BentoModel(info.tag) for (name, _), info in zip(sources, kept, strict=True)
        }
    reference = references.get(source) or (BentoModel(source) if is_tag(source) else None)
    return Path(reference.resolve().path) if isinstance(reference, BentoModel) else None
