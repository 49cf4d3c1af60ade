"""A worker's life: engines load while it already answers /livez; it drains on SIGTERM and ends when
an engine dies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any

from openllm.config.words import VARIABLES
from openllm.errors import OpenLLMError, say
from openllm.http.app import Server

if TYPE_CHECKING:
    from openllm.http.connections import Connections

logger = logging.getLogger("openllm")

WATCH_SECONDS = 0.5  # how often engines are asked whether they live
PATIENCE_SECONDS = 15.0  # between two lines that say that engines still load
LAST_WORDS_SECONDS = 3.0  # for streams to deliver their final event once nothing more is generated
BACKSTOP_SECONDS = 10.0  # for clients that read slowly to get the rest


class WorkerLife:
    """When the process around a `Server` loads, and when and how it has to go."""

    def __init__(self, server: Server, connections: Connections) -> None:
        self.server = server
        self._connections = connections
        self.failure: str | None = None  # why the worker ends by itself, names still marked
        self.told_elsewhere = False  # whoever runs this process says `failure`: the log need not
        self.when_ready: Callable[[Server], None] = lambda server: None
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_http: Callable[[], None] | None = None  # makes the HTTP server leave its loop
        self._supervisor = (
            os.getppid() if _is_bentoml_worker() else None
        )  # None: nobody would restart this process

    @property
    def alive(self) -> bool:
        return self.failure is None and self.server.alive

    @property
    def ready(self) -> bool:
        return self.failure is None and self.server.ready

    def start(self) -> None:
        """Take over the signals of the running HTTP server and begin to load; returns at once."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            self._take_signals()
        self._spawn(self._live())

    async def loaded(self) -> None:
        """Return once the engines are up, or cannot be."""
        starting = asyncio.ensure_future(self.server.start())
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.exception()  # told by the task that loads

    def drain(self) -> None:
        """Refuse what is new, finish what runs, then stop. Called again: cut off what runs, too."""
        if self.server.limits.draining:
            self._hurry.set()
            return
        self.server.limits.draining = True
        self._connections.hurry()
        self._spawn(self._drain())

    async def close(self) -> None:
        """Stop every engine and every task; the last thing a worker does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.close()

    async def _live(self) -> None:
        begun = time.monotonic()
        starting = asyncio.ensure_future(self.server.start())
        while not (await asyncio.wait([starting], timeout=PATIENCE_SECONDS))[0]:
            logger.info("Still loading, %d s so far.", time.monotonic() - begun)
        await starting
        for llm in self.server.catalog.llms:
            logger.info("%s: %s", llm.name, llm.backend_reason)
        logger.info("Ready after %.1f s.", time.monotonic() - begun)
        self.when_ready(self.server)
        await self._watch()

    async def _watch(self) -> None:
        # engines and parents have no event for it
        while (why := self._why_to_end()) is None:  # noqa: ASYNC110
            await asyncio.sleep(WATCH_SECONDS)
        self._fail(why)
        self._connections.finish()
        await self.server.drain(LAST_WORDS_SECONDS)
        await self._end()

    def _why_to_end(self) -> str | None:
        for llm in self.server.catalog.llms:
            if llm.failure:
                return f"The engine of {llm.name} has stopped: {llm.failure}"
        if self._supervisor is not None and os.getppid() != self._supervisor:
            return "The process that supervised this worker is gone."
        return None

    async def _drain(self) -> None:
        logger.info("Draining: %d requests are being answered.", self.server.limits.live)
        hurry = asyncio.create_task(self._hurry.wait())
        drained = asyncio.create_task(self.server.drain())
        await asyncio.wait((hurry, drained), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        drained.cancel()
        await self._end()

    async def _end(self) -> None:
        """Leave: engines first, which ends what still streams; then HTTP, which waits for clients
        that still read; should they hold that up, without it.
        """
        await self.server.close()
        self._connections.finish()
        await self.server.drain(LAST_WORDS_SECONDS)
        if self._stop_http is not None:
            asyncio.get_running_loop().call_later(
                BACKSTOP_SECONDS, os._exit, 1 if self.failure else 0
            )
            self._stop_http()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._check)
        self._tasks.append(task)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that raised ends the worker: an error of ours shows as its one line, any other
        with its trace.
        """
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, OpenLLMError):
            self._fail(error.text)
        else:
            self._fail(str(error) or type(error).__name__, error)
        if self._stop_http is not None:
            self._stop_http()

    def _fail(self, why: str, error: BaseException | None = None) -> None:
        if error is not None or not self.told_elsewhere:
            logger.error("%s", say(why, VARIABLES), exc_info=error)
        self.failure = why

    def _take_signals(self) -> None:
        """Stand before the server's own handlers, which would stop listening before anyone saw
        /readyz fail.
        """
        stop = signal.getsignal(signal.SIGTERM)
        if callable(stop):
            self._stop_http = lambda: stop(signal.SIGTERM, None)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.drain)


def _is_bentoml_worker() -> bool:
    """Whether `bentoml serve` started this process; its end, however sudden, is then the end of
    this one.
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name.startswith("_bentoml_impl.worker")
