"""Python's garbage collector kept out of the way: paused while engines load; what is there then is left alone.

Under load it then runs by the clock: by its own count of new objects it would run at every engine step, over the
objects of all live requests, most of which its reference counts free soon after.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

TICK_SECONDS = 0.25  # how long garbage in cycles may stay
_MIDDLE, _FULL = 8, 240  # ticks between collections of what was there at the last one, and of everything


@contextmanager
def collection_paused() -> Iterator[None]:
    """No collections inside: what importing torch and transformers makes stays, and each pass would visit all of it.

    It is on again afterwards, unless it was off before.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def set_aside() -> None:
    """Leave all that is there now alone: no collection looks at it any more. For imported libraries, which stay."""
    gc.freeze()


def settle() -> None:
    """Collect what is not set aside, then set aside what is left, so that no collection under load looks at it."""
    gc.collect()
    gc.freeze()


async def collect_by_the_clock() -> None:
    """Collect at each tick, in place of the collector's own schedule, until cancelled."""
    running = gc.isenabled()
    gc.disable()
    try:
        for tick in count(1):
            await asyncio.sleep(TICK_SECONDS)
            gc.collect(0 if tick % _MIDDLE else 1 if tick % _FULL else 2)
    finally:
        if running:
            gc.enable()
