"""Where one LLM's engine lives: the event loop it was started on, until it is closed, dropped or
that loop ends.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from openllm.errors import EngineDead, InvalidRequest
from openllm.llm.loops import LoopThread, at_shutdown, in_event_loop

if TYPE_CHECKING:
    from openllm.backends.base import Backend
    from openllm.backends.residency import Residency

T = TypeVar("T")


class Home:
    """The engine, its loop, and the thread of that loop where the callers are synchronous. Knows
    nothing of the LLM.
    """

    def __init__(self) -> None:
        self.engine: Backend | None = None
        self.reason = ""
        self.residency: Residency | None = None
        self.starting: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None
        self._lock = threading.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Errors: EngineDead before `claim`."""
        if self._loop is None:
            raise EngineDead("The LLM has not been started.", hint="await llm.start() first.")
        return self._loop

    @property
    def started(self) -> bool:
        task = self.starting
        return (
            task is not None and task.done() and not task.cancelled() and task.exception() is None
        )

    def claim(
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

    def leave(self) -> Backend | None:
        """Forget the loop; the engine that was on it."""
        with self._lock:
            return self._empty()

    def _empty(self) -> Backend | None:
        left, self.engine = self.engine, None
        self.residency = self.starting = self._loop = None
        return left

    def elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the engine has to be closed on, where it is not the running one."""
        loop = self._loop
        return (
            None if loop is None or loop.is_closed() or loop is asyncio.get_running_loop() else loop
        )

    # For callers without a loop.

    def thread(self) -> LoopThread:
        """The thread of synchronous callers. Errors: InvalidRequest inside a running event loop."""
        if in_event_loop():
            raise InvalidRequest(
                "An event loop is running here.", hint="Use `await llm.generate(...)` instead."
            )
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread

    def run(self, work: Coroutine[Any, Any, T] | AsyncGenerator[T, None]) -> T | Iterator[T]:
        """Run a coroutine to its end, or give a generator's items as they come. Errors: those of
        `thread`.
        """
        try:
            thread = self.thread()
        except InvalidRequest:
            if isinstance(work, Coroutine):
                work.close()
            raise
        return thread.iterate(work) if isinstance(work, AsyncGenerator) else thread.run(work)

    def close(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`, which closes the engine, and end the thread. Errors: InvalidRequest inside
        its own event loop.
        """
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.run(work)
            thread.stop()
        elif self.engine is None:
            work.close()
        elif in_event_loop():
            work.close()
            raise InvalidRequest(
                "An event loop is running here.", hint="Use `await llm.aclose()` instead."
            )
        else:
            asyncio.run(work)

    def watch(self, owner: object) -> None:
        """Close the engine when `owner` is dropped without being closed, or the interpreter
        ends.
        """
        at_shutdown(weakref.finalize(owner, self._abandon))

    def _abandon(self) -> None:
        """May run on any thread, in the middle of anything: waits for nothing that could wait for
        this.
        """
        loop, thread, engine = self._loop, self._thread, self.leave()
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
