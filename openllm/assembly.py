"""What an LLM is made of, each part made on first use, and the life of its engine."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from openllm import models, settings
from openllm.backends.select import select_backend
from openllm.chat import ChatRenderer, load_tokenizer
from openllm.errors import ConfigurationError, EngineDead, InvalidRequest, WeightsError
from openllm.hf_options import translate_options
from openllm.hub import Token
from openllm.loops import LoopThread, at_shutdown, in_event_loop, run_on
from openllm.lora import check_adapter, resolve_adapter
from openllm.resolution import Layers, resolve_model
from openllm.spec import AdapterSpec, LLMSpec, is_path
from openllm.tokens import TokenTable
from openllm.types import SamplingParams
from openllm.weights import read_config, resolve_weights

if TYPE_CHECKING:
    from openllm.backends.base import Backend, BackendInfo, EngineStats
    from openllm.config import LLMConfig
    from openllm.shelf import Shelf


T = TypeVar("T")
ModelId = str | os.PathLike[str]  # as callers may write it
MakeEngine = Callable[[LLMSpec, Path], tuple["Backend", str]]  # what gives an LLM its engine
# Sampling parameters that may stand among an LLM's options; `seed` there is the engine's.
SAMPLING_NAMES = frozenset({"max_new_tokens", *attrs.fields_dict(SamplingParams)}) - {"seed"}


def spec_for(model: ModelId | None, options: Mapping[str, Any]) -> LLMSpec:
    """The spec of a model named in code: options, then `OPENLLM_*` variables, then what its family says.

    Options may hold sampling parameters too (`max_new_tokens=512`): they become the defaults of requests; and the
    names of transformers' `from_pretrained`. Errors: ConfigurationError, UnknownFamily.
    """
    options = {key: _text(value) if key == "model_id" else value for key, value in translate_options(options).items()}
    explicit = {key: value for key, value in options.items() if key not in SAMPLING_NAMES}
    sampling = {key: value for key, value in options.items() if key in SAMPLING_NAMES}
    if sampling:
        explicit["sampling"] = {**explicit.get("sampling", {}), **sampling}
    return resolve_model(_text(model), Layers(explicit, settings.spec_layer()), settings.Settings.from_env())


def _text(model: ModelId | None) -> str | None:
    """A path as text. Errors: ConfigurationError for what is neither."""
    if model is None or isinstance(model, str):
        return model
    if not isinstance(model, os.PathLike):
        raise ConfigurationError(f"A model cannot be {model!r}.", hint="Name a directory, a Hub id or a family.")
    path = os.fspath(model)
    return path if is_path(path) else f"./{path}"  # a Path("gpt2") is no Hub id


def choose_engine(spec: LLMSpec, weights_dir: Path) -> tuple[Backend, str]:
    """The engine for `spec` in this process, not started, and one line that says why that one."""
    kind, reason = select_backend(spec, sure=True)
    return kind(spec, weights_dir), reason


class Assembly:
    """Weights, tokenizer, renderer and engine of one spec. The engine lives on the loop it was started on."""

    def __init__(self, spec: LLMSpec, weights_dir: Path | None = None, make_engine: MakeEngine | None = None) -> None:
        self.spec = spec
        self._make_engine = make_engine or choose_engine
        self._token: Token = None  # for the Hub; kept out of the spec, which is written down
        self.created = int(time.time())
        self._engine: Backend | None = None
        self._reason = ""
        self._home: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None
        self._starting: asyncio.Task[None] | None = None
        self._shelf: Shelf | None = None
        if weights_dir is not None:
            self.__dict__["weights_dir"] = weights_dir

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.spec.served_name

    @cached_property
    def weights_dir(self) -> Path:
        """The local directory of weights and tokenizer. May download a Hub id. Errors: WeightsError."""
        return resolve_weights(self.spec, self._token)

    @cached_property
    def adapter_dirs(self) -> Mapping[str, Path]:
        """The spec's adapters by name, each found and checked. May download. Errors: WeightsError."""
        return {adapter.name: self._checked(adapter) for adapter in self.spec.adapters}

    @cached_property
    def config(self) -> type[LLMConfig]:
        """The family."""
        if self.spec.family:
            return models.get(self.spec.family)
        architectures = read_config(self.weights_dir).get("architectures") or [None]
        return models.resolve(self.spec.model_id, architectures[0])

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer. Errors: WeightsError."""
        return load_tokenizer(self.weights_dir, trust_remote_code=self.spec.trust_remote_code)

    @cached_property
    def renderer(self) -> ChatRenderer:
        return ChatRenderer(self.tokenizer, self.spec.chat_template)

    @cached_property
    def decoding_tokenizer(self) -> Any:
        """The Rust tokenizer behind the transformers one; what the stream decoder steps through."""
        inner = getattr(self.tokenizer, "backend_tokenizer", None)
        if inner is None:
            raise WeightsError("This tokenizer has no fast form.", hint="Add a tokenizer.json to the directory.")
        return inner

    @cached_property
    def token_table(self) -> TokenTable:
        """Single tokens as bytes and text, for logprobs."""
        return TokenTable(self.decoding_tokenizer)

    @property
    def backend(self) -> Backend:
        """The engine, made but not started. Errors: MissingDependency, ConfigurationError."""
        if self._engine is None:
            adapters = tuple(AdapterSpec(name, str(path)) for name, path in self.adapter_dirs.items())
            spec = attrs.evolve(self.spec, adapters=adapters)
            self._engine, self._reason = self._make_engine(spec, self.weights_dir)
        return self._engine

    @property
    def backend_reason(self) -> str:
        """One line: which backend, and why that one."""
        return self._reason if self.backend else ""

    @property
    def model(self) -> Any:
        """The engine's own model object (transformers' on PyTorch); loads it. Errors: UnsupportedFeature."""
        return self.backend.load_model()

    async def start(self) -> None:
        """Load everything and bring the engine up; later calls return at once.

        An LLM used from a second event loop while the first is alive is served by the first; when the first is closed
        the engine starts anew on the second.
        """
        running = asyncio.get_running_loop()
        if self._home is not None and self._home.is_closed():
            await self._leave()
        if self._home is not None and self._home is not running:
            await run_on(self._home, self.start)
            return
        self._home = running
        if self._starting is None:
            self._starting = running.create_task(self._start())
        starting = self._starting
        try:
            await asyncio.shield(starting)
        finally:
            if self._starting is starting and starting.done() and not self.started:
                self._starting = None

    async def _start(self) -> None:
        backend, _, adapters = await asyncio.to_thread(lambda: (self.backend, self.renderer, self.adapter_dirs))
        await backend.start()
        shelf = backend.make_shelf()
        for name, path in adapters.items():
            if name not in shelf.names:  # an engine that serves several processes has them already
                await shelf.add(name, path)
        self._shelf = shelf

    def _checked(self, adapter: AdapterSpec) -> Path:
        if adapter.name == self.name:
            raise ConfigurationError(f"An adapter cannot have the model's name {self.name!r}.", hint="Rename it.")
        path, uniform = resolve_adapter(adapter, self._token), select_backend(self.spec)[0].uniform_adapters
        return check_adapter(path, self.weights_dir, self.max_lora_rank, uniform=uniform).path

    async def mount_adapter(self, name: str, source: str | Path, revision: str | None = None) -> None:
        """Make the LoRA adapter in a directory, on the Hub or in the store usable as `adapter_name=name`.

        Requests in flight see no change. Errors: WeightsError when it does not fit this model, Conflict when the name
        is taken, UnsupportedFeature when the engine has no LoRA.
        """
        await self.start()
        path = await asyncio.to_thread(self._checked, AdapterSpec(name, str(source), revision))
        await run_on(self.home, lambda: self.shelf.add(name, path))

    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None:
        """Forget an adapter once its running requests are done. Errors: AdapterNotFound; Conflict without `wait`."""
        await run_on(self.home, lambda: self.shelf.remove(name, wait=wait))

    @property
    def started(self) -> bool:
        task = self._starting
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        """The loop the engine lives on. Errors: EngineDead before `start`."""
        if self._home is None:
            raise EngineDead("The LLM has not been started.", hint="await llm.start() first.")
        return self._home

    @property
    def shelf(self) -> Shelf:
        """The mounted adapters. Errors: EngineDead before `start`."""
        if self._shelf is None:
            raise EngineDead("The LLM has not been started.", hint="await llm.start() first.")
        return self._shelf

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names requests may give as `adapter`."""
        return tuple(self._shelf.names) if self._shelf else ()

    @property
    def max_lora_rank(self) -> int | None:
        """The highest rank of an adapter that can be mounted, as far as it is known; None: any."""
        bounds = (self.spec.max_lora_rank, self.info.adapter_rank if self.started else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def failure(self) -> str | None:
        """Why nothing can be generated any more; None while all is well."""
        return self._engine.failure if self._engine is not None else None

    @property
    def info(self) -> BackendInfo:
        """What the started engine knows of itself."""
        return self.backend.info

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together."""
        return self.backend.info.max_model_len

    def stats(self) -> EngineStats:
        return self.backend.stats()

    async def aclose(self) -> None:
        """Stop the engine; live requests end as cancelled. The LLM can be started again."""
        home = self._home
        if home is None or home.is_closed() or home is asyncio.get_running_loop():
            await self._leave()
        else:
            await run_on(home, self._leave)

    async def _leave(self) -> None:
        engine, self._engine, self._shelf = self._engine, None, None
        self._home = self._starting = None
        if engine is not None:
            await engine.close()

    # The synchronous twin.

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this LLM to its end. Errors: InvalidRequest inside a running event loop."""
        if in_event_loop():
            work.close()
            raise InvalidRequest("An event loop is running here.", hint="Use `await llm.generate(...)` instead.")
        if self._thread is None:
            self._thread = LoopThread()
            at_shutdown(weakref.finalize(self, _stop_engine, self._thread, self.__dict__))
        return self._thread.run(work)

    def close(self) -> None:
        """The synchronous `aclose`."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            thread.run(self.aclose())
            thread.stop()
        elif self._engine is not None:
            asyncio.run(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.aclose()


def _stop_engine(thread: LoopThread, state: dict[str, Any]) -> None:
    """What is left to do when an LLM that was used synchronously is dropped, or the interpreter ends."""
    engine = state.get("_engine")
    if engine is not None and not thread.loop.is_closed():
        thread.run(engine.close())
    thread.stop()
