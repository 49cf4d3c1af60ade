"""A user's end of the connection to an engine: hands deltas and answers to those who wait for
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from openllm.backends.base import BackendInfo, EngineStats
from openllm.errors import EngineDead, InvalidRequest, OpenLLMError
from openllm.remote.frames import (
    VERSION,
    Asked,
    Cancel,
    Done,
    Frame,
    FromEngine,
    Hello,
    Report,
    Reports,
    Status,
    Step,
    StopChoice,
    Submit,
    Vectors,
    from_trouble,
    from_vectors,
)
from openllm.remote.link import Link, Numbers
from openllm.types import Sink, TokenDelta, TokenRequest

GONE = "its process has ended"
_decoder = msgspec.msgpack.Decoder(FromEngine)


class Asking:
    """One request that the engine at the other end has."""

    def __init__(
        self, connection: Connection, number: int, request: TokenRequest, sink: Sink[TokenDelta]
    ) -> None:
        self._connection = connection
        self._number = number
        self._sink = sink
        self._open = set(range(request.params.n))  # choices
        connection.choices += len(self._open)

    def put(self, delta: TokenDelta) -> None:
        if delta.finish_reason is not None:
            if delta.index in self._open:
                self._open.discard(delta.index)
                self._connection.choices -= 1
            if not self._open:
                del self._connection.requests[self._number]
        self._sink.put(delta)

    def fail(self, error: OpenLLMError) -> None:
        del self._connection.requests[self._number]
        self.leave()
        self._sink.fail(error)

    def leave(self) -> None:
        """Its choices count no more."""
        self._connection.choices -= len(self._open)
        self._open.clear()

    def end_cancelled(self) -> None:
        """The engine will not be asked any more."""
        for index in sorted(self._open):
            self.put(TokenDelta([], index, "cancelled"))

    def cancel(self) -> None:
        if self._connection.requests.pop(self._number, None) is not None:
            self.leave()
            self._connection.send(Cancel(self._number))

    def stop(self, index: int) -> None:
        self._connection.send(StopChoice(self._number, index))


class Connection(Link):
    """Valid once `greeted` has returned. `failure` says why nothing can be asked any more."""

    def __init__(
        self, report: Callable[[], bytes], changed: Callable[[], None] = lambda: None
    ) -> None:
        """`changed` is called when there is another `status`, and when the connection is lost."""
        super().__init__()
        self.requests: dict[int, Asking] = {}  # by number
        self.choices = 0  # of those requests, that have not ended
        self.numbers = Numbers()
        self.status = Status(EngineStats())
        self.adapters: Mapping[str, Path] = {}  # those of `status`
        self.most_users = 0  # at once, so far
        self.engine = ""
        self.reason = ""
        self._info: BackendInfo | None = None
        self._report = report
        self._changed = changed
        self._others = 0  # of other processes, that the engine had when it last said so
        self._greeting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Step: self._step,
            Status: self._take_status,
            Hello: self._greet,
            Done: self._done,
            Vectors: lambda frame: self.numbers.answer(frame.number, from_vectors(frame)),
            Asked: lambda frame: self.send(Report(frame.number, self._report())),
            Reports: lambda frame: self.numbers.answer(frame.number, frame.texts),
        }

    @property
    def info(self) -> BackendInfo:
        """Errors: EngineDead before `greeted`."""
        if self._info is None:
            raise EngineDead("The engine is not up yet.")
        return self._info

    @property
    def load(self) -> int:
        """Choices and calls that the engine has, of this process and, where it counts them, of
        others.
        """
        return self.choices + self.numbers.waiting + self._others

    @property
    def failure(self) -> str | None:
        return GONE if self._gone else self.status.failure

    async def greeted(self) -> None:
        """Return once the engine is up. Errors: what kept it from starting; EngineDead when its
        process ended.
        """
        try:
            await self._greeting
        except BaseException:
            self.cut()
            raise

    def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Asking:
        """Send a request; what comes of it goes to `sink`."""
        number = self.numbers.new()
        asking = self.requests[number] = Asking(self, number, request, sink)
        try:
            self.send(Submit(number, request))
        except InvalidRequest:
            del self.requests[number]
            asking.leave()
            raise
        return asking

    async def call(self, number: int, frame: Frame) -> Any:
        """Send `frame` and wait for its answer. Errors: the engine's own, EngineDead."""
        answer = self.numbers.wait(number)
        self.send(frame)
        return await answer

    def close(self, error: OpenLLMError) -> None:
        """Hang up; requests end as cancelled, calls get `error`."""
        for asking in tuple(self.requests.values()):
            asking.end_cancelled()
        self.abandon(error)

    def abandon(self, error: OpenLLMError) -> None:
        """Hang up; requests and calls fail with `error`."""
        self._fail(error)
        self.hang_up()

    def receive(self, body: bytes) -> None:
        frame = _decoder.decode(body)
        self._handlers[type(frame)](frame)

    def lost(self) -> None:
        self._gone = True
        self._fail(EngineDead(f"The engine has stopped: {GONE}.", hint="Restart the service."))
        self._changed()

    def _fail(self, error: OpenLLMError) -> None:
        if not self._greeting.done():
            self._greeting.set_exception(error)
        for asking in tuple(self.requests.values()):
            asking.fail(error)
        self.numbers.fail(error)

    def _greet(self, hello: Hello) -> None:
        if self._greeting.done():
            return
        if hello.trouble is not None:
            self._greeting.set_exception(from_trouble(hello.trouble))
        elif hello.version != VERSION:
            self._greeting.set_exception(
                EngineDead("The engine's process has another version of openllm.")
            )
        else:
            self._info, self.engine, self.reason = hello.info, hello.engine, hello.reason
            self._greeting.set_result(None)

    def _step(self, step: Step) -> None:
        requests = self.requests
        for number, delta in step.deltas:
            if (asking := requests.get(number)) is not None:
                asking.put(delta)
        for number, trouble in step.failed:
            if (asking := requests.get(number)) is not None:
                asking.fail(from_trouble(trouble))

    def _take_status(self, status: Status) -> None:
        if status.adapters != self.status.adapters:
            self.adapters = {name: Path(path) for name, path in status.adapters.items()}
        self.status = status
        self.most_users = max(self.most_users, status.users)
        own = self.choices + self.numbers.waiting
        self._others = max(status.stats.running + status.stats.waiting - own, 0)
        self._changed()

    def _done(self, frame: Done) -> None:
        error = None if frame.trouble is None else from_trouble(frame.trouble)
        self.numbers.answer(frame.number, error=error)


async def connect(
    address: Path, report: Callable[[], bytes], changed: Callable[[], None] = lambda: None
) -> Connection | None:
    """A connection to the engine that listens at `address`; None while nobody does."""
    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_unix_connection(
            lambda: Connection(report, changed), str(address)
        )
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    return link
