"""What an LLM is made of, each part made on first use, and the life of its engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import attrs

from openllm import models
from openllm.answer.tokens import TokenTable
from openllm.backends.select import select_backend
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import ConfigurationError, EngineDead, InvalidRequest, WeightsError
from openllm.llm.host import Home
from openllm.llm.loops import in_event_loop, lends_threads, run_on
from openllm.prompt.renderer import ChatRenderer, load_tokenizer
from openllm.weights.adapters import check_adapter, resolve_adapter
from openllm.weights.hub import Token
from openllm.weights.resolve import read_config, resolve_weights

if TYPE_CHECKING:
    from openllm.backends.base import Backend, BackendInfo, EngineStats
    from openllm.backends.residency import Residency
    from openllm.models.base import LLMConfig


T = TypeVar("T")
MakeEngine = Callable[[LLMSpec, Path], tuple["Backend", str]]  # what gives an LLM its engine


def choose_engine(spec: LLMSpec, weights_dir: Path) -> tuple[Backend, str]:
    """The engine for `spec` in this process, not started, and one line that says why that one."""
    kind, reason = select_backend(spec, sure=True)
    return kind(spec, weights_dir), reason


class Assembly:
    """Weights, tokenizer, renderer and engine of one spec. The engine lives on the loop it was
    started on.
    """

    def __init__(
        self, spec: LLMSpec, weights_dir: Path | None = None, make_engine: MakeEngine | None = None
    ) -> None:
        self.spec = spec
        self._make_engine = make_engine or choose_engine
        self._token: Token = None  # for the Hub; kept out of the spec, which is written down
        self.created = int(time.time())
        self._given_dir = weights_dir
        self._home = Home()
        self._watched = False
        if weights_dir is not None:
            self.__dict__["weights_dir"] = weights_dir

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.spec.served_name

    @cached_property
    def weights_dir(self) -> Path:
        """The local directory of weights and tokenizer. May download a Hub id. Errors:
        WeightsError.
        """
        return resolve_weights(self.spec, self._token)

    @cached_property
    def adapter_dirs(self) -> Mapping[str, Path]:
        """The spec's adapters by name, each found and checked. May download. Errors:
        WeightsError.
        """
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
            raise WeightsError(
                "This tokenizer has no fast form.", hint="Add a tokenizer.json to the directory."
            )
        return inner

    @cached_property
    def token_table(self) -> TokenTable:
        """Single tokens as bytes and text, for logprobs."""
        return TokenTable(self.decoding_tokenizer)

    @property
    def backend(self) -> Backend:
        """The engine, made but not started. Errors: MissingDependency, ConfigurationError."""
        home = self._home
        if home.engine is None:
            adapters = tuple(
                AdapterSpec(name, str(path)) for name, path in self.adapter_dirs.items()
            )
            spec = attrs.evolve(self.spec, adapters=adapters)
            home.engine, home.reason = self._make_engine(spec, self.weights_dir)
        return home.engine

    @property
    def backend_reason(self) -> str:
        """One line: which backend, and why that one."""
        return self.backend.reason or self._home.reason

    @property
    def model(self) -> Any:
        """The engine's own model object (transformers' on PyTorch); loads it. Errors:
        UnsupportedFeature.
        """
        return self.backend.load_model()

    async def start(self) -> None:
        """Load everything and bring the engine up; later calls return at once.

        An LLM used from a second event loop while the first is alive is served by the first; when
        the first is closed the engine starts anew on the second.
        """
        running = asyncio.get_running_loop()
        loop, left = self._home.claim(running)
        if left is not None:
            await left.close()
        if loop is not running:
            await run_on(loop, self.start)
            return
        if self._home.starting is None:
            self._home.starting = running.create_task(self._start())
        starting = self._home.starting
        try:
            await asyncio.shield(starting)
        finally:
            if self._home.starting is starting and starting.done() and not self.started:
                self._home.starting = None

    async def _start(self) -> None:
        if self._make_engine is choose_engine:
            # Imports the engine. Errors that are kept meanwhile keep their stack, which must not
            # hold this LLM.
            await asyncio.to_thread(select_backend, self.spec, sure=True)
        backend, _, adapters = await asyncio.to_thread(
            lambda: (self.backend, self.renderer, self.adapter_dirs)
        )
        if not self._watched:
            self._watched = True
            self._home.watch(self)
        await backend.start()
        residency = backend.make_residency()
        for name, path in adapters.items():
            if (
                name not in residency.names
            ):  # an engine that serves several processes has them already
                await residency.add(name, path)
        self._home.residency = residency

    def _checked(self, adapter: AdapterSpec) -> Path:
        if adapter.name == self.name:
            raise ConfigurationError(
                f"An adapter cannot have the model's name {self.name!r}.", hint="Rename it."
            )
        path, uniform = (
            resolve_adapter(adapter, self._token),
            select_backend(self.spec)[0].uniform_adapters,
        )
        return check_adapter(path, self.weights_dir, self.max_lora_rank, uniform=uniform).path

    async def mount_adapter(
        self, name: str, source: str | Path, revision: str | None = None
    ) -> None:
        """Make the LoRA adapter in a directory, on the Hub or in the store usable as
        `adapter_name=name`.

        Requests in flight see no change. Errors: WeightsError when it does not fit this model,
        Conflict when the name is taken, UnsupportedFeature when the engine has no LoRA.
        """
        await self.start()
        path = await asyncio.to_thread(self._checked, AdapterSpec(name, str(source), revision))
        await run_on(self.home, lambda: self.residency.add(name, path))

    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None:
        """Forget an adapter once its running requests are done. Errors: AdapterNotFound; Conflict
        without `wait`.
        """
        await run_on(self.home, lambda: self.residency.remove(name, wait=wait))

    @property
    def started(self) -> bool:
        return self._home.started

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        """The loop the engine lives on. Errors: EngineDead before `start`."""
        return self._home.loop

    @property
    def residency(self) -> Residency:
        """The mounted adapters. Errors: EngineDead before `start`."""
        if self._home.residency is None:
            raise EngineDead("The LLM has not been started.", hint="await llm.start() first.")
        return self._home.residency

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names requests may give as `adapter`."""
        return tuple(self._home.residency.names) if self._home.residency else ()

    @property
    def max_lora_rank(self) -> int | None:
        """The highest rank of an adapter that can be mounted, as far as it is known; None: any."""
        bounds = (self.spec.max_lora_rank, self.info.adapter_rank if self.started else None)
        return min((bound for bound in bounds if bound is not None), default=None)

    @property
    def failure(self) -> str | None:
        """Why nothing can be generated any more; None while all is well."""
        return self._home.engine.failure if self._home.engine is not None else None

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
        loop = self._home.elsewhere()
        if loop is not None and await lends_threads(loop):
            with contextlib.suppress(EngineDead):  # that loop has ended just now
                await run_on(loop, self._leave)
        await self._leave()

    async def _leave(self) -> None:
        engine = self._home.leave()
        if engine is not None:
            await engine.close()

    # The synchronous twin.

    @overload
    def run(self, work: Coroutine[Any, Any, T]) -> T: ...

    @overload
    def run(self, work: AsyncGenerator[T, None]) -> Iterator[T]: ...

    def run(self, work: Coroutine[Any, Any, T] | AsyncGenerator[T, None]) -> T | Iterator[T]:
        """Run a coroutine of this LLM to its end; or give the items of a stream,
        `llm.generate_iterator`, as they come.

        Errors: InvalidRequest inside a running event loop.
        """
        return self._home.run(work)

    def close(self) -> None:
        """The synchronous `aclose`. Errors: InvalidRequest inside the event loop that the engine
        lives on.
        """
        self._home.close(self.aclose())

    def __enter__(self) -> Self:
        """Errors: InvalidRequest inside a running event loop, which could not be left
        synchronously.
        """
        if in_event_loop():
            raise InvalidRequest("An event loop is running here.", hint="Use `async with` instead.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.aclose()

    # A copy, also one by way of a pickle, is the same model, not started. A pickle does not hold
    # the token.

    def __getstate__(self) -> dict[str, Any]:
        own = None if self._make_engine is choose_engine else self._make_engine
        return {"spec": self.spec, "weights_dir": self._given_dir, "make_engine": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Assembly.__init__(self, **state)

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__setstate__(self.__getstate__())
        other._token = self._token
        return other

    def __deepcopy__(self, _: object) -> Self:
        return self.__copy__()
