"""Rows keep what was written to them, whoever joins, leaves, grows, parks or gives way; and memory
keeps its bound.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openllm.backends.base import join
from openllm.backends.pytorch.forward.slots import (
    CacheShape,
    SlotStore,
    common_prefix,
    slab_lengths,
)
from openllm.backends.pytorch.sequence import Job, Sequence
from openllm.backends.stream import Inbox
from openllm.types import SamplingParams, TokenRequest

GEOMETRY = CacheShape(((1, 2, 1), (2, 1, 3)), torch.float32, torch.device("cpu"))
LENGTHS = (8, 32, 40)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "write", "write", "park", "leave", "reuse"]),
        st.integers(0, 99),
    ),
    max_size=120,
)


@pytest.fixture(scope="module")
def loop() -> Any:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class House:
    """A store whose rows hold their own token numbers, so that whatever is lost or mixed up
    shows.
    """

    def __init__(self, loop: Any, budget_tokens: int, rows: int) -> None:
        self.store = SlotStore(GEOMETRY, budget_tokens * GEOMETRY.token_bytes, LENGTHS, rows)
        self.loop, self.live, self.number = loop, [], 0

    def join(self, tokens: list[int], adapter: int) -> Sequence | None:
        job = Job(TokenRequest("x", tokens, SamplingParams()), Inbox(join), self.loop, adapter)
        sequence = Sequence(job, 0, tokens, len(tokens), 0)
        sequence.row = self.store.place(sequence, len(tokens))
        if sequence.row is not None:
            self.live.append(sequence)
        return sequence if sequence.row is not None else None

    def write(self, sequence: Sequence, count: int) -> None:
        """Compute the next `count` tokens, as a forward pass would."""
        for _ in range(count):
            if sequence.computed == len(sequence.tokens):
                self.number += 1
                sequence.tokens.append(self.number)
                if not self.store.grow(sequence.row, len(sequence.tokens)):
                    sequence.tokens.pop()
                    return
            at = sequence.computed
            for tensor in sequence.row.slab.keys + sequence.row.slab.values:
                tensor[sequence.row.slot, at] = sequence.tokens[at]
            sequence.computed += 1

    def check(self) -> None:
        assert sum(slab.bytes for slab in self.store.slabs) <= self.store.budget
        seen = []
        for slab in self.store.slabs:
            for slot, row in enumerate(slab.occupants):
                if row is None:
                    assert slot >= slab.live, "a hole among the live rows"
                    continue
                assert (row.slot, row.slab) == (slot, slab)
                assert (row.owner is not None) == (slot < slab.live)
                held = torch.tensor(row.holds()[: row.valid], dtype=torch.float32)
                for tensor in slab.keys + slab.values:
                    assert bool((tensor[slot, : row.valid].flatten(1) == held[:, None]).all())
                seen.append(row.owner)
        assert all(sequence in seen for sequence in self.live)


@settings(deadline=None, max_examples=150)
@given(actions=ACTIONS, budget=st.integers(45, 200), rows=st.integers(1, 5))
def test_every_row_holds_what_was_written(
    loop: Any, actions: list[tuple[str, int]], budget: int, rows: int
) -> None:
    house = House(loop, budget, rows)
    for action, number in actions:
        chosen = house.live[number % len(house.live)] if house.live else None
        if action == "join":
            house.number += 1
            house.join([house.number * 1000 + at for at in range(1 + number % 12)], number % 2)
        elif action == "reuse":
            reuse(house, number)
        elif chosen is not None and action == "write":
            if len(chosen.tokens) < 36:
                house.write(chosen, 1 + number % 4)
        elif chosen is not None:
            house.live.remove(chosen)
            row, chosen.row = chosen.row, None
            if action == "park":
                house.store.park(row)
            else:
                row.slab.vacate(row, park=False)
        house.check()


def reuse(house: House, number: int) -> None:
    """Begin with the prefix of some row, live or parked, as the executor does: revive it or copy
    from it.
    """
    rows = [
        row
        for slab in house.store.slabs
        for row in slab.occupants
        if row is not None and row.valid > 1
    ]
    if not rows:
        return
    wanted = rows[number % len(rows)]
    tokens = [*wanted.holds()[: wanted.valid], 7]
    donor, shared = house.store.find_prefix(tokens, wanted.adapter)
    assert donor is not None
    assert shared >= wanted.valid
    assert donor.adapter == wanted.adapter
    if donor.owner is None and shared == donor.valid and len(tokens) <= donor.slab.length:
        job = Job(
            TokenRequest("x", tokens, SamplingParams()), Inbox(join), house.loop, donor.adapter
        )
        sequence = Sequence(job, 0, tokens, len(tokens), 0)
        donor.slab.revive(donor, sequence)
        sequence.row, sequence.computed = donor, shared
        house.live.append(sequence)
        return
    sequence = house.join(tokens, wanted.adapter)
    if sequence is not None and donor.slab.occupants[donor.slot] is donor:  # else it gave way
        sequence.row.slab.copy(donor, sequence.row, shared)
        sequence.computed = shared


@given(
    st.lists(st.integers(0, 2), max_size=30),
    st.lists(st.integers(0, 2), max_size=30),
    st.integers(0, 40),
)
def test_the_common_prefix_is_the_longest(first: list[int], second: list[int], limit: int) -> None:
    naive = 0
    while naive < min(limit, len(first), len(second)) and first[naive] == second[naive]:
        naive += 1
    assert common_prefix(first, second, limit) == naive


def test_lengths_of_slabs() -> None:
    assert slab_lengths(256, 5000) == (256, 1024, 4096, 5000)
    assert slab_lengths(256, 100) == (104,)
    assert slab_lengths(256, 256) == (256,)
