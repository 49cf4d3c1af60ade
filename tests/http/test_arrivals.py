"""A burst of requests is let in a few at a time, in the order in which it came."""

from __future__ import annotations

import asyncio

from openllm.http.arrivals import Arrivals


class Door:
    """Requests that note in which turn of the loop they were let in."""

    def __init__(self, at_once: int) -> None:
        self.arrivals = Arrivals(at_once)
        self.turn = 0
        self.let_in: list[tuple[int, int]] = []  # number of the request, turn

    async def come(self, number: int) -> None:
        await self.arrivals.turn()
        self.let_in.append((number, self.turn))

    async def count_turns(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turn += 1


async def test_a_burst_is_let_in_by_turns_of_the_loop_in_its_order() -> None:
    door = Door(3)
    clock = asyncio.create_task(door.count_turns())
    await asyncio.gather(*(door.come(number) for number in range(8)))
    clock.cancel()
    assert [number for number, _ in door.let_in] == list(range(8))
    turns = [turn for _, turn in door.let_in]
    assert all(turns.count(turn) <= 3 for turn in turns)
    assert len(set(turns)) == 3
    assert not door.arrivals.waiting()


async def test_who_comes_later_does_not_overtake() -> None:
    door = Door(1)
    first = [asyncio.create_task(door.come(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert door.arrivals.waiting()
    await asyncio.gather(*first, door.come(3))
    assert [number for number, _ in door.let_in] == [0, 1, 2, 3]


async def test_one_at_a_time_never_waits() -> None:
    arrivals = Arrivals(1)
    for _ in range(3):
        coming = arrivals.turn()
        assert_returns_at_once(coming)
        await asyncio.sleep(0)


def assert_returns_at_once(coming: object) -> None:
    try:
        coming.send(None)  # type: ignore[attr-defined]  # a coroutine
    except StopIteration:
        return
    raise AssertionError("it waited")


async def test_who_leaves_while_waiting_takes_nobodys_place() -> None:
    door = Door(1)
    tasks = [asyncio.create_task(door.come(number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, _ in door.let_in] == [0, 3]
    assert not door.arrivals.waiting()
    await door.come(4)
