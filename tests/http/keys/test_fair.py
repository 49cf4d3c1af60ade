"""Whose request is next, told by the order in which the engine gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs
import pytest

from openllm.errors import EngineDead, EngineError, OpenLLMError, Overloaded
from openllm.http.keys.fair import FairQueue
from openllm.types import Running, SamplingParams, Sink, TokenDelta, TokenRequest

Send = Callable[..., Awaitable[Running]]


@attrs.define
class Reader:
    """What came of one request."""

    ends: int = 0
    error: OpenLLMError | None = None

    def put(self, delta: TokenDelta) -> None:
        self.ends += delta.finish_reason is not None

    def fail(self, error: OpenLLMError) -> None:
        self.error = error


class Engine:
    """Has what it was given, until a test ends it."""

    def __init__(self) -> None:
        self.order: list[str] = []  # of what came
        self.sinks: dict[str, Sink[TokenDelta]] = {}
        self.cancelled: list[str] = []
        self.refuse: Exception | None = None

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        if self.refuse is not None:
            raise self.refuse
        self.order.append(request.request_id)
        self.sinks[request.request_id] = sink
        return _Run(self, request.request_id)

    async def end(self, name: str, index: int = 0) -> None:
        self.sinks[name].put(TokenDelta([1], index, "stop"))
        await settle()


@attrs.frozen
class _Run:
    engine: Engine
    name: str

    def cancel(self) -> None:
        self.engine.cancelled.append(self.name)

    def stop(self, index: int) -> None:
        """It runs out."""


async def settle() -> None:
    """Let the tasks that have something to do come to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


class Bench:
    """A queue before an engine of `places` places."""

    def __init__(self, places: int, max_waiting: int = 100) -> None:
        self.engine = Engine()
        self.queue = FairQueue(places, max_waiting)
        self.readers: dict[str, Reader] = {}

    async def send(self, name: str, n: int = 1) -> Running:
        """A request called `name`, with the key that its first letter is."""
        request = TokenRequest(name, [1], SamplingParams(n=n, max_tokens=9))
        reader = self.readers[name] = Reader()
        running = await self.queue.through(name[0], self.engine.submit)(request, reader)
        await settle()
        return running


async def test_a_key_that_comes_late_does_not_wait_for_all_of_another() -> None:
    bench = Bench(places=1)
    for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        await bench.send(name)
    assert bench.engine.order == ["a1"]
    for _ in range(6):
        await bench.engine.end(bench.engine.order[-1])
    assert bench.engine.order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert all(reader.ends == 1 for name, reader in bench.readers.items() if name != "a4")


async def test_a_part_of_the_engine_is_left_to_others() -> None:
    bench = Bench(places=4)
    for at in range(6):
        await bench.send(f"a{at}")
    assert bench.engine.order == ["a0", "a1", "a2"]
    await bench.send("b0")
    await bench.send("b1")
    assert bench.engine.order == ["a0", "a1", "a2", "b0"]
    await bench.engine.end("a0")  # a has two, b one
    assert bench.engine.order[-1] == "b1"
    await bench.engine.end("a1")
    assert bench.engine.order[-1] == "a3"


async def test_choices_count_not_requests() -> None:
    bench = Bench(places=9)
    await bench.send("a1", n=4)
    await bench.send("a2", n=4)
    await bench.send("a3", n=1)
    assert bench.engine.order == ["a1", "a2"]
    await bench.send("b1", n=2)  # needs two, and one is free; no smaller one overtakes it
    await bench.send("c1", n=1)
    assert bench.engine.order == ["a1", "a2"]
    for index in range(4):
        await bench.engine.end("a1", index)
    assert bench.engine.order == ["a1", "a2", "b1", "c1", "a3"]


async def test_who_leaves_makes_room() -> None:
    bench = Bench(places=1)
    first, second = await bench.send("a1"), await bench.send("a2")
    await bench.send("a3")
    second.cancel()
    second.cancel()
    assert bench.queue.waiting("a") == 1
    first.cancel()
    first.cancel()
    await settle()
    assert bench.engine.cancelled == ["a1", "a1"]
    assert bench.engine.order == ["a1", "a3"]


async def test_who_leaves_between_its_turn_and_the_engine_is_not_begun() -> None:
    bench = Bench(places=1)
    request = TokenRequest("a1", [1], SamplingParams())
    running = await bench.queue.through("a", bench.engine.submit)(request, Reader())
    running.cancel()
    await settle()
    await bench.send("a2")
    assert bench.engine.order == ["a2"]


async def test_stopped_choices_make_room() -> None:
    bench = Bench(places=3)
    running = await bench.send("a1", n=2)
    await bench.send("a2", n=2)
    running.stop(0)
    running.stop(1)
    await settle()
    assert bench.engine.order == ["a1", "a2"]


@pytest.mark.parametrize("error", [EngineDead("It is gone."), RuntimeError("a defect")])
async def test_what_the_engine_raises_reaches_who_waits(error: Exception) -> None:
    bench = Bench(places=1)
    await bench.send("a1")
    await bench.send("b1")
    bench.engine.refuse = error
    await bench.engine.end("a1")
    assert isinstance(bench.readers["b1"].error, EngineError)
    bench.engine.refuse = None
    await bench.send("b2")
    assert bench.engine.order == ["a1", "b2"]


async def test_a_queue_that_one_key_fills_takes_in_another() -> None:
    bench = Bench(places=1, max_waiting=4)
    for at in range(5):
        await bench.send(f"a{at}")
    with pytest.raises(Overloaded, match="4 requests are waiting"):
        await bench.send("a5")
    await bench.send("b0")
    await bench.send("b1")
    with pytest.raises(Overloaded, match="2 requests are waiting"):
        await bench.send("b2")
    assert (bench.queue.waiting("a"), bench.queue.waiting("b")) == (4, 2)


STEPS = 20  # of the engine, which a request takes


async def steps_of(key: str, every: int, others: int) -> list[int]:
    """How many steps requests of `key`, one `every` so many, take from when they are sent to their
    end, beside a key that always has `others` waiting.
    """
    bench = Bench(places=16, max_waiting=2 * others + 16)
    left: dict[str, int] = {}
    sent: dict[str, int] = {}
    took: list[int] = []
    for step in range(40 * STEPS):
        while bench.queue.waiting("a") < others:
            await bench.send(f"a{len(bench.readers)}")
        if step % every == 0:
            name = f"{key}{len(bench.readers)}"
            sent[name] = step
            await bench.send(name)
        for name in bench.engine.order:
            # the other key's answers are of 10 to 30 tokens
            left.setdefault(name, STEPS if name in sent else 10 + 7 * len(left) % 21)
        for name in list(bench.engine.sinks):
            left[name] -= 1
            if not left[name]:
                await bench.engine.end(name)
                del bench.engine.sinks[name]
                if name in sent:
                    took.append(step + 1 - sent[name])
    assert len(took) > 30 * STEPS // every
    return sorted(took)


@pytest.mark.parametrize("every", [5, 20])
async def test_a_key_that_fills_the_queue_costs_another_a_fifth_at_most(every: int) -> None:
    alone, beside = await steps_of("b", every, 0), await steps_of("b", every, 100)
    at = len(alone) * 95 // 100
    assert beside[at] <= 1.2 * alone[at]
