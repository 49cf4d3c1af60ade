"""A worker's life: engines load while it already answers /livez; it drains on SIGTERM and ends when an engine dies."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any

from openllm.errors import OpenLLMError
from openllm.llm import LLM
from openllm.settings import Settings

logger = logging.getLogger("openllm")

WATCH_SECONDS = 0.5  # how often engines are asked whether they live
LAST_WORDS_SECONDS = 3.0  # for streams to deliver their final event once nothing more is generated
BACKSTOP_SECONDS = 10.0  # for the HTTP server to get rid of clients that read nothing


class Runtime:
    """The LLMs of one worker, the requests it is answering, and when it has to go."""

    def __init__(self, llms: Sequence[LLM], settings: Settings) -> None:
        self.llms = tuple(llms)
        self.settings = settings
        self.draining = False
        self.failure: str | None = None  # why the worker ends by itself
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_server: Callable[[], None] | None = None  # makes the HTTP server leave its loop

    @property
    def ready(self) -> bool:
        """Whether every engine is up and nothing is on its way out."""
        return not self.draining and self.alive and all(llm.started for llm in self.llms)

    @property
    def alive(self) -> bool:
        return self.failure is None and not any(llm.failure for llm in self.llms)

    def enter(self) -> None:
        """A request has come in."""
        self._in_flight += 1

    def leave(self) -> None:
        """A request has been answered."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    def start(self) -> None:
        """Take over the signals of the running server and begin to load; returns at once."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            self._take_signals()
        self._spawn(self._live())

    def drain(self) -> None:
        """Refuse what is new, finish what runs, then stop the server. Called again: cut off what runs, too."""
        if self.draining:
            self._hurry.set()
            return
        self.draining = True
        self._spawn(self._drain())

    async def close(self) -> None:
        """Stop every engine and every task; the last thing a worker does."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_engines()

    async def _live(self) -> None:
        begun = time.monotonic()
        for llm in self.llms:
            await llm.start()
            logger.info("%s: %s", llm.name, llm.backend_reason)
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection walks it again
        logger.info("Ready after %.1f s.", time.monotonic() - begun)
        await self._watch()

    async def _watch(self) -> None:
        while not (dead := [llm for llm in self.llms if llm.failure]):  # noqa: ASYNC110  engines have no event
            await asyncio.sleep(WATCH_SECONDS)
        self.failure = f"The engine of {dead[0].name} has stopped: {dead[0].failure}"
        logger.error("%s", self.failure)
        await self._quiet(LAST_WORDS_SECONDS)
        await self._end()

    async def _drain(self) -> None:
        logger.info("Draining: %d requests are being answered.", self._in_flight)
        hurry = asyncio.create_task(self._hurry.wait())
        quiet = asyncio.create_task(self._quiet(self.settings.drain_seconds))
        await asyncio.wait((hurry, quiet), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        quiet.cancel()
        if self._in_flight:
            logger.warning("Cutting off %d requests.", self._in_flight)
            await self._close_engines()
            await self._quiet(LAST_WORDS_SECONDS)
        await self._end()

    async def _quiet(self, limit: float) -> None:
        """Until no request is in flight, at most `limit` seconds."""
        if self._in_flight:
            self._idle.clear()
            try:
                async with asyncio.timeout(limit):
                    await self._idle.wait()
            except TimeoutError:
                return

    async def _end(self) -> None:
        """Leave: the HTTP server first; should a client hold it up, without it."""
        await self._close_engines()
        if self._stop_server is not None:
            asyncio.get_running_loop().call_later(BACKSTOP_SECONDS, os._exit, 1 if self.failure else 0)
            self._stop_server()

    async def _close_engines(self) -> None:
        for llm in self.llms:
            await llm.aclose()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._check)
        self._tasks.append(task)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task that raised ends the worker: an error of ours shows as its one line, any other with its trace."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("%s", error, exc_info=None if isinstance(error, OpenLLMError) else error)
        self.failure = str(error) or type(error).__name__
        if self._stop_server is not None:
            self._stop_server()

    def _take_signals(self) -> None:
        """Stand before the server's own handlers, which would stop listening before anyone saw /readyz fail."""
        stop = signal.getsignal(signal.SIGTERM)
        if callable(stop):
            self._stop_server = lambda: stop(signal.SIGTERM, None)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.drain)
