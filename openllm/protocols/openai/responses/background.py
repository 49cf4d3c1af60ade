"""Responses that are made after their request has been answered, until they are complete or
cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
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
        record: Answered,
    ) -> None:
        """Answer with the response as it is, and go on with it. `record` is what is kept of it."""
        state = wire.state("in_progress")
        record = attrs.evolve(record, response=msgspec.json.encode(state))
        self._store.put(record)
        try:
            await exchange.answer_json(state)
        finally:
            # It counts as a request of its key, so it begins once the one that asked has ended.
            work = self._work(exchange, generations, wire, record)
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
                        if not await asyncio.to_thread(self._wanted, name):
                            task.cancel()
        finally:
            self._watch = None

    def _wanted(self, name: str) -> bool:
        """Whether the response called `name` is still to be made."""
        record = self._store.current(name)
        if not isinstance(record, Answered):
            return False
        status: str = msgspec.json.decode(record.response)["status"]
        return status == "in_progress"

    async def _work(
        self,
        exchange: Exchange,
        generations: Sequence[Generation],
        wire: ResponseWire,
        record: Answered,
    ) -> None:
        try:
            with exchange.shared.limits.work(exchange.caller):
                outputs = await finished(exchange, generations, wire.note)
            if self._wanted(record.id):
                wire.answer(outputs)
        except OpenLLMError as error:
            self._failed(error, wire, record)
        except Exception as error:
            log.error("%s: unexpected %s", exchange.request_id, type(error).__name__)
            log.debug("%s: unexpected error", exchange.request_id, exc_info=error)
            hint = f"The server's log has more under {exchange.request_id}."
            self._failed(OpenLLMError("Something went wrong.", hint=hint), wire, record)

    def _failed(self, error: OpenLLMError, wire: ResponseWire, record: Answered) -> None:
        if not self._wanted(record.id):
            return
        state = wire.failed_state(tell(error, RESPONSES))
        self._store.put(attrs.evolve(record, response=msgspec.json.encode(state)))

    def cancel(self, record: Answered) -> dict[str, Any]:
        """The response in `record`, cancelled where it is not complete."""
        state: dict[str, Any] = msgspec.json.decode(record.response)
        task = self._tasks.get(record.id)
        if state["status"] != "in_progress" or (task is None and not self._store.shared):
            return state
        if task is not None:
            task.cancel()
        state["status"] = "cancelled"
        self._store.put(attrs.evolve(record, response=msgspec.json.encode(state)))
        return state
