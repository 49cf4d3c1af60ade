"""Python's garbage collector kept out of the way: paused while engines load; what is there then is
left alone.

Under load it then runs by the clock: by its own count of new objects it would run at every engine
step, over the objects of all live requests, most of which its reference counts free soon after.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

TICK_SECONDS = 0.25  # between collections of what is new
MIDDLE_TICKS, FULL_TICKS = 8, 240  # between those of what has outlived one, and of everything

_clocks = 0  # running collect_by_the_clock()


@contextmanager
def collection_paused() -> Iterator[None]:
    """No collections inside: what importing torch and transformers makes stays, and each pass would
    visit all of it.

    It is on again afterwards, unless it was off before. Nor does the interpreter collect when it
    ends, which takes seconds with torch and transformers there, and frees what ends anyway.
    """
    atexit.unregister(gc.freeze)  # once is enough
    atexit.register(gc.freeze)
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def set_aside() -> None:
    """Leave all that is there now alone: no collection looks at it any more. For imported
    libraries, which stay.
    """
    gc.freeze()


def settle() -> None:
    """Collect what is not set aside, then set aside what is left, so that no collection under load
    looks at it.
    """
    gc.collect()
    gc.freeze()


async def collect_by_the_clock() -> None:
    """Collect at each tick, in place of the collector's own schedule, until cancelled.

    With the last of those that run, the collector is on again.
    """
    global _clocks  # noqa: PLW0603  the collector is the process's own
    _clocks += 1
    gc.disable()
    try:
        for tick in count(1):
            await asyncio.sleep(TICK_SECONDS)
            middle, full = tick % MIDDLE_TICKS == 0, tick % FULL_TICKS == 0
            gc.collect(2 if middle and full else int(middle))
    finally:
        _clocks -= 1
        if not _clocks:
            gc.enable()
