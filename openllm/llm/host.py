"""Where one model's engine lives: the event loop it was started on, until it is closed, dropped or
that loop ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs

from openllm.backends.base import Backend
from openllm.backends.residency import Residency
from openllm.backends.select import select_backend
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import ConfigurationError, EngineDead, InvalidRequest, option
from openllm.llm.loops import (
    LoopThread,
    at_shutdown,
    in_event_loop,
    lends_threads,
    run_on,
    together,
)
from openllm.llm.model import Model
from openllm.llm.room import require_room
from openllm.weights.checkpoint import weights_size

logger = logging.getLogger("openllm")

T = TypeVar("T")
MakeEngine = Callable[[LLMSpec, Path], tuple[Backend, str]]  # what gives a model its engine


def choose_engine(spec: LLMSpec, weights_dir: Path, settings: Settings) -> tuple[Backend, str]:
    """The engine for `spec` in this process, not started, and one line that says why that one.
    Errors: those of `select_backend`; ConfigurationError for a spec of several engines.
    """
    if spec.replicas > 1:
        raise ConfigurationError(
            f"{spec.replicas} replicas need a process each, which a server starts; here is one.",
            hint=f"Leave {option('replicas')} out, or run: openllm start.",
            param="replicas",
        )
    kind, reason = select_backend(spec, settings, sure=True)
    return kind(spec, weights_dir, settings), reason


class Host:
    """The engine of one model, its adapters, its loop, and the thread of that loop where the
    callers are synchronous.
    """

    def __init__(self, model: Model, make_engine: MakeEngine | None = None) -> None:
        self._model = model
        self._choose = make_engine is None
        self._make_engine = make_engine or partial(choose_engine, settings=model.settings)
        self._backend: Backend | None = None  # from its first use until it is closed
        self._reason = ""
        self._residency: Residency | None = None
        self._starting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()
        self._watched = False

    @property
    def backend(self) -> Backend:
        """The engine, made but not started. Errors: MissingDependency, ConfigurationError."""
        if self._backend is None:
            adapters = tuple(
                AdapterSpec(name, str(path)) for name, path in self._model.adapter_dirs.items()
            )
            spec = attrs.evolve(self._model.spec, adapters=adapters)
            self._backend, self._reason = self._make_engine(spec, self._model.weights_dir)
        return self._backend

    @property
    def reason(self) -> str:
        """One line: which backend, and why that one."""
        return self.backend.reason or self._reason

    @property
    def failure(self) -> str | None:
        """Why nothing can be asked any more; None while all is well."""
        return self._backend.failure if self._backend is not None else None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the engine lives on. Errors: EngineDead before `start`."""
        if self._loop is None:
            raise _not_started()
        return self._loop

    @property
    def residency(self) -> Residency:
        """The mounted adapters. Errors: EngineDead before `start`."""
        if self._residency is None:
            raise _not_started()
        return self._residency

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the mounted adapters."""
        return tuple(self._residency.names) if self._residency is not None else ()

    @property
    def started(self) -> bool:
        task = self._starting
        return (
            task is not None and task.done() and not task.cancelled() and task.exception() is None
        )

    @property
    def state(self) -> str | None:
        """In a word: starting, started or failed and why; None where nothing has begun."""
        if self._starting is None:
            return None
        if not self.started:
            return "starting"
        return f"failed: {failure}" if (failure := self.failure) else "started"

    # Beginning and end.

    async def start(self, owner: object) -> None:
        """Load everything and bring the engine up; later calls return at once.

        Asked from a second event loop while the first is alive, the engine stays on the first; when
        the first is closed it starts anew on the second. The engine is closed when `owner` is
        dropped.
        """
        running = asyncio.get_running_loop()
        loop, left = self._claim(running)
        if left is not None:
            await left.close()
        if loop is not running:
            await run_on(loop, lambda: self.start(owner))
            return
        if self._starting is None:
            self._starting = running.create_task(self._start(owner))
        starting = self._starting
        try:
            await asyncio.shield(starting)
        finally:
            if self._starting is starting and starting.done() and not self.started:
                self._starting = None

    async def _start(self, owner: object) -> None:
        model = self._model
        if self._choose:
            # Imports the engine. Errors that are kept meanwhile keep their stack, which must not
            # hold the owner.
            await asyncio.to_thread(select_backend, model.spec, model.settings, sure=True)
        backend = await asyncio.to_thread(lambda: self.backend)
        size = weights_size(model.weights_dir)
        logger.info("%s: loading %s of weights.", model.spec.served_name, readable_size(size))
        await asyncio.to_thread(model.prepare)
        if self._choose:
            spec = attrs.evolve(model.spec, backend=backend.facts.name)
            await asyncio.to_thread(require_room, [(spec, model.weights_dir)], model.settings)
        self._watch(owner)
        await backend.start()
        residency = backend.make_residency()
        for name, path in model.adapter_dirs.items():
            if name not in residency.names:  # an engine of several processes has them already
                await residency.add(name, path)
        self._residency = residency

    def _claim(
        self, loop: asyncio.AbstractEventLoop
    ) -> tuple[asyncio.AbstractEventLoop, Backend | None]:
        """The loop of the engine, which is `loop` where there is none, and the engine of a loop
        that has ended.
        """
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                return self._loop, None
            left = self._empty() if self._loop is not None else None
            self._loop = loop
            return loop, left

    async def aclose(self) -> None:
        """Stop the engine; live requests end as cancelled. It can be started again."""
        loop = self._loop
        elsewhere = (
            loop is not None and not loop.is_closed() and loop is not asyncio.get_running_loop()
        )
        if loop is not None and elsewhere and await lends_threads(loop):
            with contextlib.suppress(EngineDead):  # that loop has ended just now
                await run_on(loop, self._close_here)
        await self._close_here()

    async def _close_here(self) -> None:
        engine = self._leave()
        if engine is not None:
            await engine.close()

    def _leave(self) -> Backend | None:
        """Forget the loop; the engine that was on it."""
        with self._lock:
            return self._empty()

    def _empty(self) -> Backend | None:
        left, self._backend = self._backend, None
        self._residency = self._starting = self._loop = None
        return left

    # For callers without a loop.

    def run(self, work: Coroutine[Any, Any, T] | AsyncGenerator[T, None]) -> T | Iterator[T]:
        """Run a coroutine to its end, or give a generator's items as they come, on a loop of their
        own: also where another one runs, as in a notebook. Errors: InvalidRequest inside the
        engine's own event loop, which would wait for itself.
        """
        thread = self._own_loop(*([work] if isinstance(work, Coroutine) else []))
        return thread.iterate(work) if isinstance(work, AsyncGenerator) else thread.run(work)

    def run_together(self, works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """As `run`, for several at once; their results, in their order."""
        return self._own_loop(*works).run(together(works))

    def _own_loop(self, *works: Coroutine[Any, Any, T]) -> LoopThread:
        """The thread that runs `works`. Errors: InvalidRequest, after they are closed."""
        if self._is_here():
            for work in works:
                work.close()
            raise InvalidRequest(
                "The engine lives on the event loop that is running here.",
                hint="Use `await llm.generate(...)` instead.",
            )
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread

    def _is_here(self) -> bool:
        """Whether the caller is on the engine's event loop, or on that of `run`."""
        if not in_event_loop():
            return False
        here = asyncio.get_running_loop()
        return here is self._loop or (self._thread is not None and here is self._thread.loop)

    def close(self) -> None:
        """Close the engine and end the thread. Errors: InvalidRequest inside the engine's own event
        loop.
        """
        if self._is_here():
            raise InvalidRequest(
                "The engine lives on the event loop that is running here.",
                hint="Use `await llm.aclose()` instead.",
            )
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is None and self._backend is not None:
            thread = LoopThread()
        if thread is not None:
            thread.run(self.aclose())
            thread.stop()

    # For an owner that closes nothing.

    def _watch(self, owner: object) -> None:
        """Close the engine when `owner` is dropped without being closed, or the interpreter
        ends.
        """
        if not self._watched:
            self._watched = True
            at_shutdown(weakref.finalize(owner, self._abandon))

    def _abandon(self) -> None:
        """May run on any thread, in the middle of anything: waits for nothing that could wait for
        this.
        """
        loop, thread, engine = self._loop, self._thread, self._leave()
        if engine is None:
            if thread is not None:
                thread.stop()
        elif loop is None or not loop.is_running():
            _close_apart(engine, thread)
        elif thread is not None and thread.loop is loop and not thread.is_current():
            thread.run(engine.close())
            thread.stop()
        else:
            loop.call_soon_threadsafe(_close_soon, loop, engine, thread)


def _not_started() -> EngineDead:
    return EngineDead("The LLM has not been started.", hint="await llm.start() first.")


def _close_soon(
    loop: asyncio.AbstractEventLoop, engine: Backend, thread: LoopThread | None
) -> None:
    """On the engine's loop, which may be about to end."""
    task = loop.create_task(engine.close())

    def finish(task: asyncio.Task[None]) -> None:
        if task.cancelled():
            _close_apart(engine, thread)
        elif thread is not None:
            thread.stop()

    task.add_done_callback(finish)


def _close_apart(engine: Backend, thread: LoopThread | None) -> None:
    """On a loop made for it: the engine's own is gone."""
    last = LoopThread()
    last.run(engine.close())
    last.stop()
    if thread is not None:
        thread.stop()
