"""The BentoML service that a rendered service.py makes: the same one under `bentoml serve`, a
container and `start`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import bentoml
from bentoml.exceptions import BentoMLException
from starlette.types import ASGIApp

from openllm.bento.lock.image import LockedImage
from openllm.bento.pack.document import merge_document, read_document
from openllm.bento.pack.render import render_readme
from openllm.bento.pack.sources import localise
from openllm.bento.services.dependency import EngineDependency, connect
from openllm.bento.services.engine import addresses_of, make_replica_services
from openllm.bento.services.front import Front
from openllm.bento.services.references import carry_sources, find_source
from openllm.bento.services.worker import LABELS, SHARED_CONFIG, HTTPService, Worker
from openllm.bento.supervision import keep_commands_private
from openllm.config.settings import Settings, process_environment, spec_layer
from openllm.config.spec import LLMSpec
from openllm.config.words import VARIABLES
from openllm.errors import OpenLLMError
from openllm.http.auth import check_files
from openllm.http.tracing.provider import check_exporters


def create_service(name: str, file: str, document: str) -> LLMService:
    """The service of the specs in `document`, a file beside `file`.

    Errors: BentoMLException, which BentoML's commands show as its one line.
    """
    try:
        return _make_service(name, file, document)
    except OpenLLMError as error:
        raise BentoMLException(error.said(VARIABLES)) from None


def _make_service(name: str, file: str, document: str) -> LLMService:
    keep_commands_private()
    baked = read_document(Path(file).parent / document)
    specs = merge_document(baked, {})
    identifier = name.replace(".", "_").replace("-", "_")
    settings, environment = Settings.from_env(), spec_layer()
    workers = settings.api_workers

    class CheckedWorker(Worker):
        @bentoml.on_deployment  # type: ignore[untyped-decorator]  # bentoml has no types
        @staticmethod
        def check() -> None:
            service.check()

    engines = []
    in_force = merge_document(baked, environment)
    if len(specs) > 1 or workers > 1 or in_force[0].replicas > 1:
        engines = [
            make_replica_services(f"{identifier}_engine_{at}", in_force, at, settings)
            for at in range(len(in_force))
        ]
        for engine in chain.from_iterable(engines):
            setattr(CheckedWorker, engine.name, EngineDependency(engine))
    service: LLMService = bentoml.service(
        name=identifier,
        service_class=LLMService,
        image=LockedImage.for_specs(specs, settings),
        description=render_readme(name, specs),
        labels=dict(LABELS),
        **{**SHARED_CONFIG, "workers": workers},
    )(CheckedWorker)
    service.baked, service.environment, service.settings = baked, environment, settings
    service.engines = tuple(tuple(one.name for one in replicas) for replicas in engines)
    carry_sources(service, specs, settings)
    return service


@attrs.frozen
class ServicePlan:
    """What one process serves: specs that nothing overrides any more, and how the process
    behaves.
    """

    specs: tuple[LLMSpec, ...]
    settings: Settings
    # Sockets of engines that have processes of their own: for each spec those of its replicas.
    engines: tuple[tuple[Path, ...], ...] = ()
    replaces: bool = False  # a process that has ended: of the replicas one will do at first


@attrs.define(eq=False, slots=False)
class LLMService(HTTPService):
    """A BentoML service whose HTTP application is openllm's own.

    `baked` are the specs as the Bento has them, `environment` is what variables say over them,
    `engines` are the services of engines that have processes of their own, for each spec. `plan` is
    what `openllm start` decided; without it, the environment rules.
    """

    baked: tuple[Mapping[str, Any], ...] = attrs.field(init=False, default=())
    environment: Mapping[str, Any] = attrs.field(init=False, factory=dict)
    engines: tuple[tuple[str, ...], ...] = attrs.field(init=False, default=())
    sources: tuple[tuple[str, Any], ...] = attrs.field(init=False, default=())
    plan: ServicePlan | None = attrs.field(init=False, default=None)

    def plan_in_force(self) -> ServicePlan:
        """What `start` decided, or the baked specs under the environment. Errors:
        ConfigurationError.
        """
        if self.plan is not None:
            return self.plan
        return ServicePlan(merge_document(self.baked, self.environment), self.settings)

    def check(self) -> None:
        """Called once before any worker starts: what cannot work is one line here, not a trace in
        each worker.
        """
        try:
            check_files(self.settings)
            check_exporters(process_environment())
            for spec in self.plan_in_force().specs:
                find_source(self, spec.model_id)
        except OpenLLMError as error:
            raise BentoMLException(error.said(VARIABLES)) from None

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """The application of one worker; BentoML's own keeps the lifespan and its hooks."""
        host = super().to_asgi(is_main)  # first: it reads BentoML's configuration
        plan = self.plan_in_force()
        places = plan.engines or tuple(addresses_of(names) for names in self.engines)
        addresses = places or ((),) * len(plan.specs)
        link = partial(connect, settings=plan.settings, patient=not plan.replaces)
        llms = [
            link(*localise(spec, partial(find_source, self)), addresses=found)
            for spec, found in zip(plan.specs, addresses, strict=True)
        ]
        life = self.begin_life(
            llms,
            plan.settings,
            workers=plan.settings.api_workers,
            addresses=addresses,
        )
        return Front(host, life.server)
