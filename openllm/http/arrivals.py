"""A burst of requests is let in a few at a time: answers that are ready leave in between."""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 8  # requests that are read and admitted in one turn of the event loop


class Arrivals:
    """The requests that have come and are not let in yet, first come, first served.

    Taking a request in is work of a fraction of a millisecond without a pause. Of several hundred
    that come together, the last would be taken in before the loop looks at what the engine has
    answered to the first.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._left = at_once
        self._turning = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def waiting(self) -> bool:
        """Whether somebody is to be let in still."""
        return bool(self._waiting)

    async def turn(self) -> None:
        """Return when this request may be taken in: at once, but in a burst."""
        if self._left and not self._waiting:
            self._left -= 1
            if not self._turning:
                self._turning = True
                asyncio.get_running_loop().call_soon(self._turn)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _turn(self) -> None:
        """The loop begins its next turn: it has looked at its sockets."""
        self._left = self._at_once
        while self._left and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._left -= 1
        self._turning = self._left < self._at_once
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)
