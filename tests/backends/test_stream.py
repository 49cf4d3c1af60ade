"""From push to pull: nothing lost, nothing out of order, and a reader that leaves cancels."""

from __future__ import annotations

import asyncio

import pytest

from openllm.backends.base import join
from openllm.backends.lease import Lease
from openllm.backends.stream import Inbox, pull
from openllm.errors import EngineDead, OpenLLMError, Overloaded
from openllm.types import Running, Sink, TokenDelta


class Request:
    """What an engine knows of one request: its sink, and what was asked of it."""

    def __init__(self) -> None:
        self.sink: Sink[TokenDelta] | None = None
        self.begun = asyncio.Event()
        self.cancelled = 0
        self.stopped: list[int] = []

    async def begin(self, sink: Sink[TokenDelta]) -> Running:
        self.sink = sink
        self.begun.set()
        return self

    def put(self, *token_ids: int, index: int = 0, end: bool = False) -> None:
        assert self.sink is not None
        self.sink.put(TokenDelta([*token_ids], index, "stop" if end else None))

    def cancel(self) -> None:
        self.cancelled += 1

    def stop(self, index: int) -> None:
        self.stopped.append(index)


async def begun(request: Request, choices: int = 1) -> asyncio.Task[list[TokenDelta]]:
    """A reader that waits for the first delta."""

    async def read() -> list[TokenDelta]:
        return [delta async for delta in pull(request.begin, choices, join)]

    task = asyncio.create_task(read())
    await request.begun.wait()
    return task


async def test_deltas_come_in_order_and_late_ones_are_joined() -> None:
    request = Request()
    reader = await begun(request)
    request.put(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for token in (2, 3):
        request.put(token)
    request.put(4, end=True)
    found = await reader
    assert [delta.token_ids for delta in found] == [[1], [2, 3, 4]]
    assert [delta.finish_reason for delta in found] == [None, "stop"]


async def test_choices_are_not_joined_with_each_other() -> None:
    request = Request()
    reader = await begun(request, choices=2)
    request.put(1, index=0)
    request.put(2, index=1)
    request.put(3, index=1, end=True)
    request.put(4, index=0, end=True)
    found = await reader
    assert [(delta.index, delta.token_ids) for delta in found] == [
        (0, [1]),
        (1, [2, 3]),
        (0, [4]),
    ]


async def test_an_error_comes_after_the_deltas_before_it() -> None:
    inbox = Inbox(join)
    inbox.put(TokenDelta([1]))
    inbox.fail(EngineDead("gone"))
    assert (await inbox.get()).token_ids == [1]
    for _ in range(2):
        with pytest.raises(EngineDead, match="gone"):
            await inbox.get()


async def test_an_error_wakes_the_reader() -> None:
    request = Request()
    reader = await begun(request)
    await asyncio.sleep(0)
    assert request.sink is not None
    request.sink.fail(Overloaded("full"))
    with pytest.raises(Overloaded, match="full"):
        await reader


@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_a_reader_that_leaves_cancels(how: str) -> None:
    request = Request()
    if how == "closed":
        deltas = pull(request.begin, 1, join)
        reading = asyncio.ensure_future(anext(deltas))
        await request.begun.wait()
        request.put(1)
        await reading
        await deltas.aclose()
    else:
        reader = await begun(request)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    assert request.cancelled == 1


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.deltas: list[TokenDelta] = []
        self.error: OpenLLMError | None = None

    def put(self, delta: TokenDelta) -> None:
        self.deltas.append(delta)

    def fail(self, error: OpenLLMError) -> None:
        self.error = error


async def leased(choices: int) -> tuple[Lease, Request, Kept, list[str]]:
    request, kept, released = Request(), Kept(), []
    lease = Lease(kept, choices, lambda: released.append("released"))
    await lease.begin(request.begin)
    return lease, request, kept, released


async def test_a_lease_ends_with_the_last_choice() -> None:
    lease, request, kept, released = await leased(choices=2)
    request.put(1, index=0, end=True)
    request.put(2, index=1)
    assert not released
    lease.stop(1)
    assert request.stopped == [1]
    request.put(3, index=1, end=True)
    assert released == ["released"]
    assert len(kept.deltas) == 3
    lease.cancel()
    assert released == ["released"]


async def test_a_lease_ends_with_a_failure_and_with_cancelling() -> None:
    _, request, kept, released = await leased(choices=2)
    assert request.sink is not None
    request.sink.fail(EngineDead("gone"))
    assert (released, str(kept.error)) == (["released"], "gone")
    lease, request, _, released = await leased(choices=1)
    lease.cancel()
    assert (released, request.cancelled) == (["released"], 1)


async def test_a_request_that_is_not_taken_keeps_nothing() -> None:
    released: list[str] = []

    async def refuse(sink: Sink[TokenDelta]) -> Running:
        raise Overloaded("full")

    with pytest.raises(Overloaded):
        await Lease(Kept(), 1, lambda: released.append("released")).begin(refuse)
    assert released == ["released"]
