"""The garbage collector is off while engines load, on afterwards, and leaves alone what was there
then.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from openllm.llm.collector import (
    collect_by_the_clock,
    collection_paused,
    set_aside,
    settle,
)


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The collector as in a new process, though a server of the test session may run in this
    one.
    """
    running = gc.isenabled()
    monkeypatch.setattr("openllm.llm.collector._clocks", 0)
    gc.enable()
    yield
    gc.unfreeze()
    if not running:
        gc.disable()


def test_it_is_off_inside_and_on_again_after_an_error() -> None:
    with contextlib.suppress(ValueError), collection_paused():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()


def test_it_stays_off_where_it_was() -> None:
    gc.disable()
    with collection_paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_two_that_overlap_leave_it_on() -> None:
    first, second = collection_paused(), collection_paused()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_garbage_that_came_after_what_is_set_aside_is_collected() -> None:
    set_aside()
    before = gc.get_freeze_count()
    assert before > 0
    loop: list[object] = []
    loop.append(loop)
    del loop
    settle()
    assert gc.get_freeze_count() > 0
    assert gc.collect() == 0


class Knot:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


BY_THE_CLOCK = """
import asyncio, gc, weakref
from openllm.llm.collector import TICK_SECONDS, collect_by_the_clock

class Knot:
    def __init__(self):
        self.own = self

async def main():
    clock = asyncio.create_task(collect_by_the_clock())
    await asyncio.sleep(0)
    assert not gc.isenabled()
    knot = weakref.ref(Knot())
    for _ in range(20_000):  # far more than the collector's own threshold
        Knot()
    assert knot() is not None
    await asyncio.sleep(2 * TICK_SECONDS)
    assert knot() is None
    clock.cancel()
    await asyncio.wait([clock])
    assert gc.isenabled()

asyncio.run(main())
"""


def test_by_the_clock_garbage_goes_with_the_next_tick() -> None:
    """In a process of its own: the servers of the test session have clocks, too."""
    subprocess.run([sys.executable, "-c", BY_THE_CLOCK], check=True)


async def test_old_garbage_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openllm.llm.collector.TICK_SECONDS", 0.0001)
    held = Knot()
    gc.collect()  # what is left is old now
    gone = weakref.ref(held)
    del held
    clock = asyncio.create_task(collect_by_the_clock())
    async with asyncio.timeout(20):
        while gone() is not None:  # noqa: ASYNC110  the collector has no event
            await asyncio.sleep(0.01)
    clock.cancel()


async def test_of_two_clocks_the_last_turns_the_collector_on() -> None:
    first, second = (asyncio.create_task(collect_by_the_clock()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert not gc.isenabled()
    second.cancel()
    await asyncio.wait([second])
    assert gc.isenabled()
