"""The requests that are being answered, by their ids, so that one can be cancelled by another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from openllm.http.keys.caller import Caller, Rank


@attrs.define(eq=False)
class LiveRequest:
    """One of them, whose time can be ended."""

    caller: Caller
    time: asyncio.Timeout
    facts: Callable[[], dict[str, Any]] = dict  # what may be told of it now
    cancelled: bool = False


class LiveRequests:
    """Those of one process. An id is the client's to choose, so several may have the same."""

    def __init__(self) -> None:
        self._by_id: dict[str, list[LiveRequest]] = {}

    @contextmanager
    def entered(self, request_id: str, request: LiveRequest) -> Iterator[None]:
        """Known by its id inside the block."""
        same = self._by_id.setdefault(request_id, [])
        same.append(request)
        try:
            yield
        finally:
            same.remove(request)
            if not same:
                del self._by_id[request_id]

    def facts(self) -> list[dict[str, Any]]:
        """Of all of them, those that came first before the others."""
        return [one.facts() for same in self._by_id.values() for one in same]

    def cancel(self, request_id: str, caller: Caller) -> int:
        """End the time of the requests of that id, or of the answer `prefix-id`, which `caller` may
        cancel: those of its own key, an administrator all. Returns how many.
        """
        names = (request_id, request_id.partition("-")[2])
        found = [one for name in names for one in self._by_id.get(name, [])]
        every = caller.rank is Rank.ADMIN
        mine = [
            one for one in found if (every or one.caller.name == caller.name) and not one.cancelled
        ]
        for one in mine:
            one.cancelled = True
            one.time.reschedule(asyncio.get_running_loop().time())
        return len(mine)
