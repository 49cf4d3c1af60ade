"""The BentoML service that a rendered service.py makes: the same one under `bentoml serve`, a
container and `start`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import bentoml
from bentoml.exceptions import BentoMLException

import openllm
from openllm.bento.lock.image import LockedImage
from openllm.bento.pack.document import merge_document, read_document
from openllm.bento.pack.packing import inside_sources, localise
from openllm.bento.pack.render import render_readme
from openllm.bento.service.engines import (
    EngineDependency,
    address_of,
    connect,
    find_source,
    make_engine_service,
)
from openllm.bento.service.references import reference_to
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import LLMSpec
from openllm.config.words import VARIABLES
from openllm.errors import OpenLLMError
from openllm.remote.peers import Peers

if TYPE_CHECKING:
    from openllm.http.life import Runtime

# BentoCloud's gateway goes by it; here nothing cuts a long answer off.
LONGEST_ANSWER_SECONDS = 24 * 3600
OPENAI_ENDPOINT = "/v1"


def create_service(name: str, file: str, document: str) -> LLMService:
    """The service of the specs in `document`, a file beside `file`.

    Errors: BentoMLException, which BentoML's commands show as its one line.
    """
    try:
        return _make_service(name, file, document)
    except OpenLLMError as error:
        raise BentoMLException(error.said(VARIABLES)) from None


def _make_service(name: str, file: str, document: str) -> LLMService:
    baked = read_document(Path(file).parent / document)
    specs = merge_document(baked, {})
    identifier = name.replace(".", "_").replace("-", "_")
    workers = Settings.from_env().api_workers

    class Deployed(Worker):
        @bentoml.on_deployment  # type: ignore[untyped-decorator]  # bentoml has no types
        @staticmethod
        def check() -> None:
            service.check()

    engines = []
    if len(specs) > 1 or workers > 1:
        in_force = merge_document(baked, spec_layer())
        engines = [
            make_engine_service(f"{identifier}_engine_{at}", in_force, at)
            for at in range(len(in_force))
        ]
        for engine in engines:
            setattr(Deployed, engine.name, EngineDependency(engine))
    service: LLMService = bentoml.service(
        name=identifier,
        service_class=LLMService,
        image=LockedImage.for_specs(specs),
        description=render_readme(name, specs),
        labels={"openllm": openllm.__version__, "openai_endpoint": OPENAI_ENDPOINT},
        workers=workers,
        traffic={"timeout": LONGEST_ANSWER_SECONDS},
        metrics={"enabled": False},  # ours are at /metrics
        logging={"access": {"enabled": False}},
    )(Deployed)
    service.baked = baked
    service.engines = tuple(engine.name for engine in engines)
    service.sources = tuple(
        (source, reference_to(source, spec)) for spec in specs for source in inside_sources(spec)
    )
    service.models = [reference for _, reference in service.sources]
    return service


class Worker:
    """A large language model behind OpenAI's API and openllm's own."""

    bento_service: LLMService  # set by BentoML on each instance

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # bentoml has no types
    async def load(self) -> None:
        self._runtime.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # bentoml has no types
    async def unload(self) -> None:
        await self._runtime.close()

    async def __is_ready__(self) -> bool:
        return self._runtime.ready

    async def __is_alive__(self) -> bool:
        return self._runtime.alive

    @property
    def _runtime(self) -> Runtime:
        return self.bento_service.runtime


@attrs.frozen
class Deployment:
    """What one process serves: specs that nothing overrides any more, and how the process
    behaves.
    """

    specs: tuple[LLMSpec, ...]
    settings: Settings
    engines: tuple[
        Path, ...
    ] = ()  # sockets of the specs' engines, where those have processes of their own


@attrs.define(eq=False, slots=False)
class LLMService(bentoml.Service):  # type: ignore[misc]  # bentoml has no types
    """A BentoML service whose HTTP application is openllm's own."""

    baked: tuple[Mapping[str, Any], ...] = attrs.field(init=False, default=())
    engines: tuple[str, ...] = attrs.field(
        init=False, default=()
    )  # services of the engines, where they are apart
    sources: tuple[tuple[str, Any], ...] = attrs.field(init=False, default=())
    deployment: Deployment | None = attrs.field(
        init=False, default=None
    )  # `start` sets it; else the environment rules
    runtime: Runtime = attrs.field(init=False, default=None)

    def deploy(self) -> Deployment:
        """What `start` decided, or the baked specs under the environment. Errors:
        ConfigurationError.
        """
        if self.deployment is not None:
            return self.deployment
        return Deployment(merge_document(self.baked, spec_layer()), Settings.from_env())

    def check(self) -> None:
        """Called once before any worker starts: what cannot work is one line here, not a trace in
        each worker.
        """
        try:
            deployment = self.deploy()
            for spec in deployment.specs:
                self._find(spec.model_id)
        except OpenLLMError as error:
            raise BentoMLException(error.said(VARIABLES)) from None

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application of one worker; BentoML's own keeps the lifespan and its hooks."""
        from openllm.bento.service.front import Front
        from openllm.http.app import create_app
        from openllm.http.life import Runtime

        deployment = self.deploy()
        logging.getLogger("openllm").setLevel(deployment.settings.log_level.upper())
        addresses: tuple[Path | None, ...] = (None,) * len(deployment.specs)
        if deployment.engines or self.engines:
            addresses = deployment.engines or tuple(address_of(name) for name in self.engines)
        llms = [
            connect(*localise(spec, self._find), address)
            for spec, address in zip(deployment.specs, addresses, strict=True)
        ]
        server = create_app(llms, deployment.settings)
        if None not in addresses:
            server.peers = Peers(llms, deployment.settings.api_workers, server.metrics.report)
        self.runtime = Runtime(server)
        return Front(super().to_asgi(is_main), server)

    def on_load_bento(self, bento: Any) -> None:
        """Called by BentoML: the Bento may have been built for another number of workers, without
        the engines.
        """
        for service in self.all_services().values():
            service.bento = bento

    def _find(self, source: str) -> Path | None:
        return find_source(self, self.sources, source)
