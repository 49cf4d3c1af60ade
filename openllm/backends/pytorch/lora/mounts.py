"""Names of mounted adapters and who uses them; lives on the event loop, the matrices live in
`adapters`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

from openllm.errors import AdapterNotFound, call

BASE = 0  # the key of "no adapter"


class Mounts:
    """Each mount has a key of its own, so that nothing computed with one adapter serves a later one
    of its name.
    """

    def __init__(self) -> None:
        self._keys: dict[str, int] = {}
        self._users: Counter[int] = Counter()
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._counter = itertools.count(BASE + 1)

    def new_key(self) -> int:
        return next(self._counter)

    def add(self, name: str, key: int) -> None:
        self._keys[name] = key

    async def remove(self, name: str) -> int | None:
        """Refuse new users of `name`, wait for those there are, and return its key; None: there is
        no such name.
        """
        key = self._keys.pop(name, None)
        if key is not None and self._users[key]:
            self._waiters[key] = asyncio.get_running_loop().create_future()
            await self._waiters[key]
            del self._waiters[key]
        return key

    def hold(self, name: str) -> int:
        """The key of `name`, held until it is given to `release`. Errors: AdapterNotFound."""
        if name not in self._keys:
            raise AdapterNotFound(
                f"There is no adapter {name!r}.",
                hint=f"{call('LLM.adapters')} lists them.",
                param="adapter",
            )
        key = self._keys[name]
        self._users[key] += 1
        return key

    def release(self, key: int) -> None:
        """A request that held `key` is over."""
        self._users[key] -= 1
        waiter = self._waiters.get(key)
        if not self._users[key] and waiter is not None and not waiter.done():
            waiter.set_result(None)
