"""The queue between an engine and a reader: what is offered on the way, what is joined, who gets an
error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from openllm.backends.base import DeltaQueue
from openllm.types import TokenDelta


async def waiting(queue: DeltaQueue) -> asyncio.Task[TokenDelta]:
    """A reader that waits for its next delta."""
    reader = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    return reader


def taking(into: list[TokenDelta], answer: bool = True) -> Callable[[TokenDelta], bool]:
    def take(delta: TokenDelta) -> bool:
        into.append(delta)
        return answer

    return take


async def test_a_delta_is_offered_only_while_the_reader_waits() -> None:
    offered: list[TokenDelta] = []
    queue = DeltaQueue(taking(offered))
    queue.put(TokenDelta([1]))
    assert not offered
    assert (await queue.get()).token_ids == [1]
    reader = await waiting(queue)
    queue.put(TokenDelta([2]))
    queue.put(TokenDelta([3]))
    await asyncio.sleep(0)
    assert [delta.token_ids for delta in offered] == [[2], [3]]
    assert not reader.done()
    queue.put(TokenDelta([4], finish_reason="length"))
    assert (await reader).token_ids == [4]


async def test_what_is_not_taken_goes_to_the_reader_and_all_after_it_too() -> None:
    offered: list[TokenDelta] = []
    queue = DeltaQueue(taking(offered, answer=False))
    reader = await waiting(queue)
    queue.put(TokenDelta([1]))
    queue.put(TokenDelta([2]))  # the reader is on its way and must not be overtaken
    assert [delta.token_ids for delta in offered] == [[1]]
    assert (await reader).token_ids == [1, 2]


async def test_what_taking_raises_is_for_the_reader() -> None:
    def take(delta: TokenDelta) -> bool:
        raise ValueError(f"cannot write {delta.token_ids}")

    queue = DeltaQueue(take)
    reader = await waiting(queue)
    queue.put(TokenDelta([1]))  # the engine that calls this does not see it
    queue.put(
        TokenDelta([2], finish_reason="stop")
    )  # else the answer would end well, with a token missing
    with pytest.raises(ValueError, match=r"cannot write \[1\]"):
        await reader


@pytest.mark.parametrize("take", [True, False])
async def test_held_deltas_are_joined_and_come_when_they_are_released(take: bool) -> None:
    offered: list[TokenDelta] = []
    queue = DeltaQueue(taking(offered) if take else None)
    reader = await waiting(queue)
    for token in (1, 2, 3):
        queue.hold(TokenDelta([token]))
    await asyncio.sleep(0)
    assert not offered
    assert not reader.done()
    queue.release()
    queue.release()  # nothing is left
    await asyncio.sleep(0)
    assert reader.done() is not take
    joined = offered if take else [await reader]
    assert [delta.token_ids for delta in joined] == [[1, 2, 3]]
    queue.put(TokenDelta([4], finish_reason="stop"))
    last = reader if take else queue.get()
    assert (await last).token_ids == [4]


async def test_an_end_brings_what_was_held_with_it() -> None:
    queue = DeltaQueue(taking([]))
    reader = await waiting(queue)
    queue.hold(TokenDelta([1]))
    queue.put(TokenDelta([2], finish_reason="length"))
    queue.release()
    delta = await reader
    assert (delta.token_ids, delta.finish_reason) == ([1, 2], "length")
