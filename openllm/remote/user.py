"""One process that uses the engine, as the engine sees it: its requests, one frame per loop tick
for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from openllm.backends.base import Embeddings, join
from openllm.errors import InvalidRequest, OpenLLMError, Overloaded
from openllm.llm.llm import LLM
from openllm.remote.frames import (
    Ask,
    Asked,
    Cancel,
    Classify,
    Done,
    Embed,
    Frame,
    Mount,
    Report,
    Reports,
    Step,
    StopChoice,
    Submit,
    ToEngine,
    Trouble,
    Unmount,
    to_trouble,
    to_vectors,
)
from openllm.remote.link import Link, Numbers
from openllm.types import Running, TokenDelta, TokenRequest

log = logging.getLogger("openllm.remote")

REPORT_SECONDS = 2.0  # for the other users to say what they have counted
FARTHEST_BEHIND = 1_000_000  # tokens that wait for a user that does not read
MANY = 4096  # deltas that wait before they are joined
_decoder = msgspec.msgpack.Decoder(ToEngine)


class SharedEngine(Protocol):
    """What a user needs of the server that it is connected to."""

    llm: LLM
    users: set[User]  # all that are connected

    def join(self, user: User) -> None: ...

    def leave(self, user: User) -> None: ...

    def announce(self) -> None: ...


class User(Link):
    """What one connection has running. When it is gone, all of that is cancelled."""

    def __init__(self, server: SharedEngine) -> None:
        super().__init__()
        self._server = server
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._running: dict[int, Running] = {}
        self._questions = Numbers()
        self._deltas: list[tuple[int, TokenDelta]] = []
        self._failed: list[tuple[int, Trouble]] = []
        self._flushing = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Submit: self._submit,
            Cancel: lambda frame: self._cancel(frame.number),
            StopChoice: self._stop_choice,
            Embed: lambda frame: self._call(frame.number, self._embed(frame)),
            Classify: lambda frame: self._call(frame.number, self._classify(frame)),
            Mount: lambda frame: self._call(frame.number, self._mount(frame)),
            Unmount: lambda frame: self._call(frame.number, self._unmount(frame)),
            Ask: lambda frame: self._call(frame.number, self._collect(frame.number)),
            Report: lambda frame: self._questions.answer(frame.number, frame.text),
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.join(self)

    def receive(self, body: bytes) -> None:
        frame = _decoder.decode(body)
        self._handlers[type(frame)](frame)

    def lost(self) -> None:
        self._server.leave(self)
        for task in tuple(self._tasks.values()):
            task.cancel()
        for running in tuple(self._running.values()):
            running.cancel()
        self._running.clear()
        self._questions.fail(Overloaded("A worker has left."))

    # Generating.

    def _submit(self, frame: Submit) -> None:
        task = asyncio.get_running_loop().create_task(self._begin(frame.number, frame.request))
        self._tasks[frame.number] = task
        task.add_done_callback(partial(self._begun, frame.number))

    async def _begin(self, number: int, request: TokenRequest) -> None:
        llm = self._server.llm
        llm.backend.check(request)
        route = _Route(self, number, request.params.n)
        running = await llm.residency.submit(request, route)
        if not route.over:
            self._running[number] = running

    def _begun(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks.pop(number, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(number, error)

    def put(self, number: int, delta: TokenDelta) -> None:
        """A delta of request `number` is to go out."""
        self._deltas.append((number, delta))
        self._schedule()

    def fail(self, number: int, error: BaseException) -> None:
        """Request `number` has failed."""
        _log_defect(error)
        self._failed.append((number, to_trouble(error)))
        self._schedule()

    def forget(self, number: int) -> None:
        """Request `number` is over."""
        self._running.pop(number, None)

    def _cancel(self, number: int) -> None:
        if (running := self._running.pop(number, None)) is not None:
            running.cancel()
        elif (task := self._tasks.get(number)) is not None:
            task.cancel()

    def _stop_choice(self, frame: StopChoice) -> None:
        if (running := self._running.get(frame.number)) is not None:
            running.stop(frame.index)

    # One frame per tick.

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what has come since the last time; while the user does not read, join it instead."""
        self._flushing = False
        if self.full:
            if len(self._deltas) < MANY:
                return
            self._deltas = _joined(self._deltas)
            if sum(len(delta.token_ids) for _, delta in self._deltas) > FARTHEST_BEHIND:
                log.error("Dropping a connection that does not read what it asked for.")
                self.cut()
            return
        deltas, failed = self._deltas, self._failed
        self._deltas, self._failed = [], []
        if deltas or failed:
            self.send(Step(deltas, failed))

    def drained(self) -> None:
        self._schedule()

    # Calls with one answer.

    def _call(self, number: int, work: Coroutine[Any, Any, Frame]) -> None:
        task = self._tasks[number] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(partial(self._answered, number))

    def _answered(self, number: int, task: asyncio.Task[Frame]) -> None:
        self._tasks.pop(number, None)
        if task.cancelled():
            return
        error = task.exception()
        try:
            self.send(task.result() if error is None else Done(number, to_trouble(error)))
        except InvalidRequest as too_large:
            self.send(Done(number, to_trouble(too_large)))
        if error is not None:
            _log_defect(error)

    async def _embed(self, frame: Embed) -> Frame:
        skip = {"skip": frame.skip} if frame.skip else {}
        backend = self._server.llm.backend
        found = await backend.embed(frame.prompts, frame.pooling, **skip)
        return to_vectors(frame.number, found)

    async def _classify(self, frame: Classify) -> Frame:
        found = await self._server.llm.backend.classify(frame.inputs)
        return to_vectors(frame.number, Embeddings(found.rows, found.prompt_tokens))

    async def _mount(self, frame: Mount) -> Frame:
        await self._server.llm.residency.add(frame.name, Path(frame.path))
        self._server.announce()
        return Done(frame.number)

    async def _unmount(self, frame: Unmount) -> Frame:
        await self._server.llm.residency.remove(frame.name, wait=frame.wait)
        self._server.announce()
        return Done(frame.number)

    # Reports of all users, asked for by one.

    async def _collect(self, number: int) -> Frame:
        """Errors: Overloaded when a user does not answer in time: a sum that lacks one of them
        would be wrong.
        """
        questions = [user.ask() for user in self._server.users if user is not self]
        if questions:
            _, late = await asyncio.wait(questions, timeout=REPORT_SECONDS)
            for question in late:
                question.cancel()
            if late:
                raise Overloaded(f"{len(late)} workers have not reported.", hint="Try again.")
        told = [question for question in questions if question.exception() is None]
        return Reports(number, [question.result() for question in told])

    def ask(self) -> asyncio.Future[bytes]:
        """This user's own report; fails when it leaves."""
        number = self._questions.new()
        future = self._questions.wait(number)
        self.send(Asked(number))
        return future


class _Route:
    """The way of one request's deltas to the user that asked for it."""

    def __init__(self, user: User, number: int, choices: int) -> None:
        self._user = user
        self._number = number
        self._left = choices
        self.over = False

    def put(self, delta: TokenDelta) -> None:
        if delta.finish_reason is not None:
            self._left -= 1
            if not self._left:
                self._end()
        self._user.put(self._number, delta)

    def fail(self, error: OpenLLMError) -> None:
        self._end()
        self._user.fail(self._number, error)

    def _end(self) -> None:
        self.over = True
        self._user.forget(self._number)


def _joined(deltas: list[tuple[int, TokenDelta]]) -> list[tuple[int, TokenDelta]]:
    """All deltas of one choice as one."""
    found: dict[tuple[int, int], TokenDelta] = {}
    for number, delta in deltas:
        key = (number, delta.index)
        found[key] = join(found[key], delta) if key in found else delta
    return [(number, delta) for (number, _), delta in found.items()]


def _log_defect(error: BaseException) -> None:
    """What openllm did not raise on purpose must be seen in the engine's log."""
    if not isinstance(error, OpenLLMError):
        log.error("unexpected %s in the engine's process", type(error).__name__, exc_info=error)
