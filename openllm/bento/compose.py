"""Models in a service.py of your own: `depends` gives a class an LLM, `service` gives it openllm's
endpoints, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openllm.bento.services.dependency import LLMDependency
from openllm.bento.services.engine import make_engine_service
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, option
from openllm.llm.llm import LLM
from openllm.llm.runner import LLMRunner

if TYPE_CHECKING:
    from openllm.bento.services.own import OwnService

ModelLike = LLMRunner | LLM | LLMSpec | str


def depends(model: ModelLike, *, name: str | None = None, **config: Any) -> LLM:
    """An LLM as the attribute of a `bentoml.service` class, in a process of its own that BentoML
    starts.

        class Poet:
            llm = openllm.bento.depends(runner)     # used as self.llm: an openllm.LLM

    `model` is a Runner, an LLM, an LLMSpec or what `openllm.LLM` takes; `name` is the process's
    service, `config` what `bentoml.service` takes for it (`resources`, `envs`). Where BentoML
    starts no processes (development mode, tests), the engine runs in the service's own.
    """
    settings = Settings.from_env()
    spec = _one_engine(_spec(model, settings))
    engine = make_engine_service(name or _service_name(spec), (spec,), 0, settings, **config)
    descriptor: Any = LLMDependency(engine)
    llm: LLM = descriptor  # which is what it gives to whoever reads the attribute
    return llm


def service(*models: ModelLike, **config: Any) -> Callable[[type[Any]], OwnService]:
    """Decorates a class of your own: its `bentoml.api` methods beside OpenAI's endpoints for
    `models`.

        @openllm.bento.service("demo", name="poet")
        class Poet:
            @bentoml.api
            async def poem(self, topic: str) -> str:
                return (await self.llm.generate(f"A poem about {topic}:", max_tokens=64)).text

    `self.llm` is the first model, `self.llms` maps the names that requests use to all of them.
    `config` is what `bentoml.service` takes. Each model has a process of its own. Errors:
    ConfigurationError.
    """
    from openllm.bento.services.own import make_own_service

    settings = Settings.from_env()
    specs = tuple(_one_engine(_spec(model, settings)) for model in models)
    names = [spec.served_name for spec in specs]
    if not names:
        raise ConfigurationError("There is no model to serve.", hint="Name at least one.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            f"Two models are called {twice[0]!r}.", hint="Give one of them another name."
        )
    services = [
        make_engine_service(_service_name(spec), specs, at, settings)
        for at, spec in enumerate(specs)
    ]
    return lambda inner: make_own_service(inner, services, settings, config)


def _service_name(spec: LLMSpec) -> str:
    letters = (letter if letter.isalnum() else "_" for letter in spec.served_name.lower())
    return "".join(letters) + "_engine"


def _one_engine(spec: LLMSpec) -> LLMSpec:
    """Errors: ConfigurationError for one of several engines."""
    if spec.replicas > 1:
        raise ConfigurationError(
            f"{spec.served_name} has {spec.replicas} replicas, and in a service of your own each"
            " model has one engine.",
            hint=f"Leave {option('replicas')} out, or serve the model by itself.",
            param="replicas",
        )
    return spec


def _spec(model: ModelLike, settings: Settings) -> LLMSpec:
    if isinstance(model, LLMSpec):
        return model
    if isinstance(model, str):
        return LLM(model, settings=settings).spec
    spec: LLMSpec = model.spec
    return spec
