"""Runner: an LLM as a `bentoml.legacy.Runner`, with the same methods wherever BentoML runs it.

BentoML carries arguments and results between its API server and its runner processes as pickles,
over Unix sockets only: a TCP port would let anybody who reaches it run code.
`openllm.bento.depends` and several API workers use a transport of our own instead.
"""

from __future__ import annotations

import platform
import sys
import warnings
from functools import partial
from typing import Any, Self

import bentoml
import bentoml.legacy

from openllm.bento.pack.names import tag_name
from openllm.bento.runner.handles import UNIX_HINT, LocalHandle, NoHandle, RemoteHandle
from openllm.bento.runner.runnable import make_runnable
from openllm.bento.runner.strategy import LLMStrategy
from openllm.bento.supervision import keep_commands_private
from openllm.config.names import is_tag
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.llm.llm import LLM
from openllm.llm.resolve import ModelId

RUNNER_OPTIONS = (
    "name",
    "embedded",
    "max_batch_size",
    "max_latency_ms",
    "method_configs",
    "scheduling_strategy",
)


class Runner(bentoml.legacy.Runner):  # type: ignore[misc]  # bentoml has no types
    """A model as a BentoML Runner. `model`, `model_id`, `backend` and options are those of
    `openllm.LLM`; or `model` is an LLM: workers load it anew, and `init_local` uses it.

    `embedded`, `max_batch_size`, `max_latency_ms`, `method_configs` and `scheduling_strategy` are
    BentoML's own.

        runner = openllm.Runner("llama", model_id="...", backend="vllm")
        svc = bentoml.legacy.Service("chat", runners=[runner])
        answer = await runner.generate.async_run("Hello", max_tokens=64)
        async for piece in runner.generate_iterator.async_stream("Hello"): ...

    In a new-style service: `llm = openllm.bento.depends(runner)`. Errors: ConfigurationError,
    UnknownFamily.
    """

    llm: LLM

    def __init__(
        self,
        model: ModelId | LLMSpec | LLM = "demo",
        model_id: ModelId | None = None,
        *,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        keep_commands_private()
        said = {"model_id": model_id, "backend": backend, **options}
        said = {key: value for key, value in said.items() if value is not None}
        if isinstance(model, LLM | LLMSpec):
            llm, own = model if isinstance(model, LLM) else LLM(model), said
            if unknown := set(own) - set(RUNNER_OPTIONS):
                raise ConfigurationError(
                    f"A runner has no option {min(unknown)!r}.", hint=f"It has {RUNNER_OPTIONS}."
                )
        else:  # here `name` is the model's, and the runner's by way of it
            own = {key: said.pop(key) for key in RUNNER_OPTIONS[1:] if key in said}
            llm = LLM(model, **said)
        stored = llm.spec.model_id  # a Bento with this runner has to carry it
        chosen = {
            "name": tag_name(llm.name),
            "scheduling_strategy": LLMStrategy,
            "models": [bentoml.models.get(stored)] if is_tag(stored) else [],
            **own,
        }
        _restore_runner_defaults()
        with warnings.catch_warnings():
            # BentoML calls its Runner deprecated; that we build on it is our matter.
            warnings.simplefilter("ignore", DeprecationWarning)
            super().__init__(make_runnable(llm), **chosen)
        object.__setattr__(self, "llm", llm)
        object.__setattr__(self, "_options", own)
        object.__setattr__(self, "_runner_handle", NoHandle(self))

    @classmethod
    def from_llm(cls, llm: LLM, **options: Any) -> Self:
        """The same as `Runner(llm, **options)`."""
        return cls(llm, **options)

    @property
    def spec(self) -> LLMSpec:
        return self.llm.spec

    def __repr__(self) -> str:
        return f"Runner({self.llm!r}, name={self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is a runner of the same model that nobody has initialised."""
        return partial(type(self), **self._options), (self.llm,)

    def init_local(self, quiet: bool = False) -> None:
        """Load the model into this process; returns when it is ready. Errors: those of
        `LLM.start`.
        """
        self._set_handle(LocalHandle)

    def init_client(self, handle_class: type[Any] | None = None, *args: Any, **kwargs: Any) -> None:
        """Called by BentoML's API server: reach the runner's own process."""
        self._set_handle(handle_class or RemoteHandle, *args, **kwargs)

    def destroy(self) -> None:
        """Undo `init_local`."""
        handle = self._runner_handle
        object.__setattr__(self, "_runner_handle", NoHandle(self))
        if isinstance(handle, LocalHandle):
            handle.close()

    @property
    def scheduled_worker_env_map(self) -> dict[int, dict[str, Any]]:
        """Called by BentoML before it starts runner processes. Errors: ConfigurationError where it
        would use TCP.
        """
        if sys.platform == "win32" or "microsoft-standard" in platform.release():
            raise ConfigurationError(
                "BentoML reaches runners over TCP here, which is not safe.", hint=UNIX_HINT
            )
        found: dict[int, dict[str, Any]] = super().scheduled_worker_env_map
        return found


def _restore_runner_defaults() -> None:
    """A new-style service in the same process replaces BentoML's configuration by one that knows no
    runners.
    """
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.configuration.helpers import get_default_config

    config = BentoMLContainer.config.get()
    if "runners" not in config:
        config["runners"] = get_default_config(version=1)["runners"]
