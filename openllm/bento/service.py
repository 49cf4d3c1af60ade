"""The BentoML service that a rendered service.py makes: the same one under `bentoml serve`, a container and `start`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import bentoml
from bentoml.exceptions import BentoMLException
from bentoml.models import BentoModel

import openllm
from openllm.bento.document import merge_document, read_document
from openllm.bento.image import LockedImage
from openllm.bento.packing import localise, sources_of
from openllm.bento.references import reference_to
from openllm.bento.render import render_readme
from openllm.errors import OpenLLMError
from openllm.modelstore import is_tag
from openllm.settings import Settings, spec_layer
from openllm.spec import LLMSpec

if TYPE_CHECKING:
    from openllm.bento.runtime import Runtime

# BentoCloud's gateway goes by it; here nothing cuts a long answer off.
LONGEST_ANSWER_SECONDS = 24 * 3600
OPENAI_ENDPOINT = "/v1"


def create_service(name: str, file: str, document: str) -> LLMService:
    """The service of the specs in `document`, a file beside `file`. Errors: ConfigurationError."""
    baked = read_document(Path(file).parent / document)
    specs = merge_document(baked, {})

    class Deployed(Worker):
        @bentoml.on_deployment  # type: ignore[untyped-decorator]  # bentoml has no types
        @staticmethod
        def check() -> None:
            service.check()

    service: LLMService = bentoml.service(
        name=name.replace(".", "_").replace("-", "_"),
        service_class=LLMService,
        image=LockedImage.for_specs(specs),
        description=render_readme(name, specs),
        labels={"openllm": openllm.__version__, "openai_endpoint": OPENAI_ENDPOINT},
        workers=1,
        traffic={"timeout": LONGEST_ANSWER_SECONDS},
        metrics={"enabled": False},  # ours are at /metrics
        logging={"access": {"enabled": False}},
    )(Deployed)
    service.baked = baked
    service.sources = tuple((source, reference_to(source, spec)) for spec in specs for source in sources_of(spec))
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
    """What one process serves: specs that nothing overrides any more, and how the process behaves."""

    specs: tuple[LLMSpec, ...]
    settings: Settings


@attrs.define(eq=False, slots=False)
class LLMService(bentoml.Service):  # type: ignore[misc]  # bentoml has no types
    """A BentoML service whose HTTP application is openllm's own."""

    baked: tuple[Mapping[str, Any], ...] = attrs.field(init=False, default=())
    sources: tuple[tuple[str, Any], ...] = attrs.field(init=False, default=())
    deployment: Deployment | None = attrs.field(init=False, default=None)  # `start` sets it; else the environment rules
    runtime: Runtime = attrs.field(init=False, default=None)

    def deploy(self) -> Deployment:
        """What `start` decided, or the baked specs under the environment. Errors: ConfigurationError."""
        if self.deployment is not None:
            return self.deployment
        return Deployment(merge_document(self.baked, spec_layer()), Settings.from_env())

    def check(self) -> None:
        """Called once before any worker starts: what cannot work is one line here, not a trace in each worker."""
        try:
            deployment = self.deploy()
            for spec in deployment.specs:
                self._find(spec.model_id)
        except OpenLLMError as error:
            raise BentoMLException(str(error)) from None

    def to_asgi(self, is_main: bool = True) -> Any:
        """The application of one worker; BentoML's own keeps the lifespan and its hooks."""
        from openllm.bento.front import Front
        from openllm.bento.runtime import Runtime
        from openllm.llm import LLM
        from openllm.server import create_app

        deployment = self.deploy()
        logging.getLogger("openllm").setLevel(deployment.settings.log_level.upper())
        llms = [LLM.from_spec(*localise(spec, self._find)) for spec in deployment.specs]
        server = create_app(llms, deployment.settings)
        self.runtime = Runtime(server)
        return Front(super().to_asgi(is_main), server)

    def _find(self, source: str) -> Path | None:
        """The directory of a source that the Bento, or the store, has; None leaves it to `openllm.weights`."""
        references = dict(self.sources)
        if self.bento is not None:
            kept = next(info for info in self.bento.info.services if info.name == self.name).models
            references = {name: BentoModel(info.tag) for (name, _), info in zip(self.sources, kept, strict=True)}
        reference = references.get(source) or (BentoModel(source) if is_tag(source) else None)
        return Path(reference.resolve().path) if isinstance(reference, BentoModel) else None
