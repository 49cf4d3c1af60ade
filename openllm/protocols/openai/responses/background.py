"""Responses that are made after their request has been answered, until they are complete or
cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs
import msgspec

from openllm.answer.generation import Generation
from openllm.errors import OpenLLMError, Overloaded
from openllm.http.dialect import tell
from openllm.http.exchange import Exchange
from openllm.http.running import finished
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.store import Answered, Store
from openllm.protocols.openai.responses.wire import ResponseWire

log = logging.getLogger(__name__)
WATCH_SECONDS = 0.5  # after which a worker sees what another has cancelled


_ENDED = {
    "code": "server_error",
    "message": "The process that made this response has ended. Ask for it again.",
}


@attrs.frozen
class BegunResponse:
    """What is kept of a response: now, and by `keep` once it is complete."""

    record: Answered
    keep: Callable[[], None]


class Background:
    """The tasks of one server, by the ids of their responses."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def begin(
        self,
        exchange: Exchange,
        generations: Sequence[Generation],
        wire: ResponseWire,
        kept: BegunResponse,
    ) -> None:
        """Answer with the response as it is, and go on with it."""
        state = wire.state("in_progress")
        response = msgspec.json.encode(state)
        record = attrs.evolve(kept.record, response=response, maker=self._store.process)
        put = asyncio.create_task(self._store.apart(self._store.put, record))
        try:
            await asyncio.shield(put)
            await exchange.answer_json(state)
        finally:
            # It counts as a request of its key, so it begins once the one that asked has ended.
            work = self._work(exchange, generations, wire, kept, put)
            task = self._tasks[wire.id] = asyncio.create_task(work)
            task.add_done_callback(lambda _: self._tasks.pop(wire.id, None))
            if self._store.shared and self._watch is None:
                self._watch = asyncio.create_task(self._watched())

    async def _watched(self) -> None:
        """While anything runs here, end what another worker was told to cancel or to delete."""
        try:
            while self._tasks:
                await asyncio.sleep(WATCH_SECONDS)
                for name, task in list(self._tasks.items()):
                    with contextlib.suppress(Overloaded):  # looked at again in a moment
                        if not await self._store.apart(self._wanted, name):
                            task.cancel()
        finally:
            self._watch = None

    def _wanted(self, name: str) -> bool:
        """Whether the response called `name` is still to be made."""
        record = self._store.current(name)
        return isinstance(record, Answered) and record.maker is not None

    async def _work(
        self,
        exchange: Exchange,
        generations: Sequence[Generation],
        wire: ResponseWire,
        kept: BegunResponse,
        put: asyncio.Task[bool],
    ) -> None:
        try:
            await put
        except OpenLLMError:  # which its client has been told
            return
        try:
            with exchange.shared.limits.work(exchange.caller):
                outputs = await finished(exchange, generations, wire.note)
                wire.answer(outputs)
                await self._store.apart(self._keep_wanted, wire.id, kept.keep)
        except OpenLLMError as error:
            await self._failed(error, wire, kept.record)
        except Exception as error:
            log.error("%s: unexpected %s", exchange.request_id, type(error).__name__)
            log.debug("%s: unexpected error", exchange.request_id, exc_info=error)
            hint = f"The server's log has more under {exchange.request_id}."
            failure = OpenLLMError("Something went wrong.", hint=hint)
            await self._failed(failure, wire, kept.record)

    async def _failed(self, error: OpenLLMError, wire: ResponseWire, record: Answered) -> None:
        state = wire.failed_state(tell(error, RESPONSES))
        failed = attrs.evolve(record, response=msgspec.json.encode(state))
        await self._store.apart(self._keep_wanted, record.id, partial(self._store.put, failed))

    def _keep_wanted(self, name: str, keep: Callable[[], object]) -> None:
        """`keep` what has become of the response called `name`, unless it is to be none."""
        with self._store.together():
            if self._wanted(name):
                keep()

    def settled(self, record: Answered) -> Answered:
        """`record`, which is as it is kept: failed, where the process that made it has ended."""
        if record.maker is None or not self._store.gone(record.maker):
            return record
        return self._end(record, "failed", error=_ENDED)

    def cancelled(self, record: Answered) -> Answered:
        """`record`, which is as it is kept: cancelled, where it is not complete; its task is ended
        by `stop`, or by the process that has it.
        """
        record = self.settled(record)
        return record if record.maker is None else self._end(record, "cancelled")

    def _end(self, record: Answered, status: str, **said: Any) -> Answered:
        state = {**msgspec.json.decode(record.response), "status": status, **said}
        ended = attrs.evolve(record, response=msgspec.json.encode(state), maker=None)
        self._store.put(ended)
        return ended

    def stop(self, name: str) -> None:
        """End the task of the response called `name`, where this process has it."""
        if (task := self._tasks.get(name)) is not None:
            task.cancel()
