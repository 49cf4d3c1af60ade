"""Where keys and values live: slabs of rows x length, allocated and freed within a memory budget.

A slab is a rectangle: `rows` sequences of at most `length` tokens, all layers. Live rows are always
the first ones of their slab, so that one view covers a decode step; rows behind them may hold the
prompts of finished requests (parked) for reuse. A sequence that outgrows its slab moves to one of
the next length, so short requests never pay for long ones. Models with state have `COPIES` of it in
each row, too: `states` says what for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.sequence import Sequence

COPIES = 3  # of a row's state, each after another number of tokens


@attrs.frozen
class StateShape:
    """One tensor of a layer's state, without the dimension of sequences."""

    recurrent: bool  # else of a convolution
    index: int  # among the layer's states of that kind
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * _item_bytes(self.dtype)


@attrs.frozen
class CacheShape:
    """The shape of one token's keys and values: per layer (heads, key width, value width); and per
    layer what it carries from token to token.
    """

    layers: tuple[tuple[int, int, int], ...]
    dtype: torch.dtype
    device: torch.device
    states: tuple[tuple[StateShape, ...], ...] = ()

    @property
    def token_bytes(self) -> int:
        width = sum(heads * (key + value) for heads, key, value in self.layers)
        return width * _item_bytes(self.dtype)

    @property
    def row_bytes(self) -> int:
        """Of one sequence, however long it is."""
        return COPIES * sum(state.bytes for layer in self.states for state in layer)

    def slab_bytes(self, rows: int, length: int) -> int:
        return (rows * length + 1) * self.token_bytes + (rows + 1) * self.row_bytes


def _item_bytes(dtype: torch.dtype) -> int:
    return int(torch.empty((), dtype=dtype).element_size())


@attrs.define(eq=False)
class Row:
    """One sequence's place in a slab. Parked when `owner` is None: `tokens` then say what it still
    holds.
    """

    slab: Slab
    slot: int
    adapter: int
    owner: Sequence | None
    salt: Hashable = None
    tokens: list[int] = attrs.field(factory=list)
    used: int = 0  # a tick of the store's clock
    # How far tokens behind images are turned further than their place says (Qwen's kin count an
    # image's tokens by its longer side), or less far.
    shift: int = 0
    # Per copy of its state after how many tokens it is; -1: nothing. At first all is zero.
    marks: list[int] = attrs.field(factory=lambda: [0] + [-1] * (COPIES - 1))
    kept: int | None = None  # the copy that stays for others
    plan: Any = None  # of the step at hand: states.StatePlan

    @property
    def valid(self) -> int:
        """How many leading tokens have their keys and values here."""
        return self.owner.computed if self.owner is not None else len(self.tokens)

    def holds(self) -> list[int]:
        return self.owner.tokens if self.owner is not None else self.tokens

    def reach(self, tokens: int) -> int:
        """From how many of its first `tokens` another sequence can go on; 0: it has to begin
        anew.
        """
        if not self.slab.states:
            return tokens
        return max((mark for mark in self.marks if 0 <= mark <= tokens), default=0)

    def forget_after(self, tokens: int) -> None:
        """Only what follows from the first `tokens` is its state from now on."""
        self.marks = [mark if mark <= tokens else -1 for mark in self.marks]
        if self.kept is not None and self.marks[self.kept] < 0:
            self.kept = None


class Slab:
    """Keys and values of `rows` sequences of at most `length` tokens.

    Per layer `keys` and `values` are views `[rows, length, heads, width]` of `key_tokens` and
    `value_tokens` `[rows * length + 1, heads, width]`; the last token is scratch, for what padded
    steps write.
    """

    def __init__(self, geometry: CacheShape, rows: int, length: int) -> None:
        def empty(heads: int, width: int) -> torch.Tensor:
            # Zeros, for what is masked out must still be finite.
            return torch.zeros(
                rows * length + 1, heads, width, dtype=geometry.dtype, device=geometry.device
            )

        self.rows, self.length = rows, length
        self.key_tokens = [empty(heads, key) for heads, key, _ in geometry.layers]
        self.value_tokens = [empty(heads, value) for heads, _, value in geometry.layers]
        self.keys = [tokens[:-1].unflatten(0, (rows, length)) for tokens in self.key_tokens]
        self.values = [tokens[:-1].unflatten(0, (rows, length)) for tokens in self.value_tokens]
        # `[rows * COPIES + 1, ...]`; the last one is scratch.
        self.states = [
            torch.zeros(rows * COPIES + 1, *state.shape, dtype=state.dtype, device=geometry.device)
            for layer in geometry.states
            for state in layer
        ]
        self.occupants: list[Row | None] = [None] * rows
        self.recordings: dict[
            Any, Any
        ] = {}  # of graphs.py: they hold this slab's addresses, and go with it
        self.live = 0
        self.bytes = geometry.slab_bytes(rows, length)

    def parked(self) -> list[Row]:
        return [row for row in self.occupants[self.live :] if row is not None]

    def seat(self, owner: Sequence) -> Row:
        """A new live row; a parked one in its way moves to a free slot, or onto the longest unused
        one.
        """
        slot = self.live
        parked = self.occupants[slot]
        if parked is not None:
            free = [at for at in range(slot, self.rows) if self.occupants[at] is None]
            target = free[0] if free else min(self.parked(), key=lambda row: row.used).slot
            if target != slot:
                self._move(slot, target)
        row = Row(self, slot, owner.adapter, owner, owner.salt)
        for state in self.states:
            state[slot * COPIES] = 0
        self.occupants[slot] = row
        self.live += 1
        return row

    def revive(self, row: Row, owner: Sequence) -> None:
        """Make a parked row live again, for a sequence that begins with what it holds."""
        self._swap(row.slot, self.live)
        self.live += 1
        row.owner, row.tokens = owner, []

    def vacate(self, row: Row, *, park: bool) -> None:
        """End a live row; `park` keeps what it holds for reuse until the place is needed."""
        last = self.live - 1
        if park:
            row.tokens = row.holds()[: row.valid]
            row.forget_after(row.valid)
            self._swap(row.slot, last)
            row.owner = None
        elif row.slot != last:
            self._move(last, row.slot)
        if not park:
            self.occupants[last] = None
        self.live = last

    def copy(self, source: Row, target: Row, length: int) -> None:
        """The first `length` tokens of a row, of this slab or another, into a row of this slab."""
        for mine, theirs in zip(
            self.keys + self.values, source.slab.keys + source.slab.values, strict=True
        ):
            mine[target.slot, :length] = theirs[source.slot, :length]
        for mine, theirs in zip(self.states, source.slab.states, strict=True):
            _copies(mine, target.slot)[:] = _copies(theirs, source.slot)
        target.salt, target.marks, target.kept = source.salt, list(source.marks), source.kept
        target.shift = source.shift
        target.forget_after(length)

    def _move(self, source: int, target: int) -> None:
        row = self.occupants[source]
        assert row is not None  # noqa: S101 - callers move rows, never holes
        for tensor in self.keys + self.values:
            tensor[target, : row.valid] = tensor[source, : row.valid]
        for state in self.states:
            _copies(state, target)[:] = _copies(state, source)
        self.occupants[source], self.occupants[target], row.slot = None, row, target

    def _swap(self, first: int, second: int) -> None:
        if first == second:
            return
        one, two = self.occupants[first], self.occupants[second]
        length = max(row.valid for row in (one, two) if row is not None)
        for tensor in self.keys + self.values:
            held = tensor[first, :length].clone()
            tensor[first, :length] = tensor[second, :length]
            tensor[second, :length] = held
        for state in self.states:
            kept = _copies(state, first).clone()
            _copies(state, first)[:] = _copies(state, second)
            _copies(state, second)[:] = kept
        self.occupants[first], self.occupants[second] = two, one
        for slot in (first, second):
            if (row := self.occupants[slot]) is not None:
                row.slot = slot


def _copies(state: torch.Tensor, slot: int) -> torch.Tensor:
    return state[slot * COPIES : (slot + 1) * COPIES]


class SlotStore:
    """All slabs of one model. Every method runs on the engine's thread."""

    def __init__(
        self, geometry: CacheShape, budget: int, lengths: tuple[int, ...], rows: int
    ) -> None:
        self.geometry, self.budget, self.lengths, self.rows = geometry, budget, lengths, rows
        self.slabs: list[Slab] = []
        self._clock = itertools.count(1)

    def place(self, owner: Sequence, need: int) -> Row | None:
        """A live row for `need` tokens, or None when the budget has no room for it now."""
        length = next(length for length in self.lengths if length >= need)
        slab = self._open_slab(length) or self._allocate(length)
        if slab is None and self._reclaim(length):
            slab = self._open_slab(length) or self._allocate(length)
        return None if slab is None else slab.seat(owner)

    def grow(self, row: Row, need: int) -> bool:
        """Make room for `need` tokens, moving the row if its slab is too short."""
        owner = row.owner
        if need <= row.slab.length or owner is None:
            return True
        target = self.place(owner, need)
        if target is None:
            return False
        row = owner.row  # Placing may have moved it.
        target.slab.copy(row, target, row.valid)
        row.slab.vacate(row, park=False)
        owner.row = target
        return True

    def find_prefix(
        self, tokens: list[int], adapter: int, salt: Hashable = None
    ) -> tuple[Row | None, int]:
        """The row, live or parked, that shares the longest prefix with `tokens`; the last token is
        never counted.
        """
        best, longest = None, 0
        for slab in self.slabs:
            for row in slab.occupants:
                if row is not None and (row.adapter, row.salt) == (adapter, salt):
                    most = min(row.valid, len(tokens) - 1)
                    shared = row.reach(common_prefix(tokens, row.holds(), most))
                    if shared > longest:
                        best, longest = row, shared
        if best is not None:
            best.used = next(self._clock)
        return best, longest

    def park(self, row: Row) -> None:
        row.used = next(self._clock)
        row.slab.vacate(row, park=True)

    def forget(self, adapter: int) -> None:
        """Drop the parked rows of an adapter."""
        for slab in self.slabs:
            for row in slab.parked():
                if row.adapter == adapter:
                    slab.occupants[row.slot] = None

    def first_slab(self) -> Slab | None:
        """A slab of the shortest length, allocated if need be; None when the budget has no room for
        one.
        """
        return self._open_slab(self.lengths[0]) or self._allocate(self.lengths[0])

    def _open_slab(self, length: int) -> Slab | None:
        """The fullest slab of this length with a seat left, so that others empty out."""
        fitting = [slab for slab in self.slabs if slab.length == length and slab.live < slab.rows]
        return max(fitting, key=lambda slab: slab.live, default=None)

    def _allocate(self, length: int) -> Slab | None:
        used = sum(slab.bytes for slab in self.slabs)
        share = self.budget // max(2 * len(self.lengths), 4)
        geometry = self.geometry
        row_bytes = length * geometry.token_bytes + geometry.row_bytes
        rows = max(1, min(self.rows, share // row_bytes))
        if used + geometry.slab_bytes(rows, length) > self.budget:
            rows = 1
        if used + geometry.slab_bytes(rows, length) > self.budget:
            return None
        self.slabs.append(Slab(self.geometry, rows, length))
        return self.slabs[-1]

    def _reclaim(self, length: int) -> bool:
        """Free slabs without live rows, after moving live ones together; whether anything was
        freed.
        """
        for slab in sorted(self.slabs, key=lambda slab: slab.live):
            others = [
                other for other in self.slabs if other is not slab and other.length == slab.length
            ]
            if 0 < slab.live <= sum(other.rows - other.live for other in others):
                self._empty(slab, others)
        kept = [slab for slab in self.slabs if slab.live or slab.length == length]
        freed = len(kept) < len(self.slabs)
        self.slabs = kept
        return freed

    def _empty(self, slab: Slab, others: list[Slab]) -> None:
        for row in [row for row in slab.occupants[: slab.live] if row is not None]:
            if row.owner is not None:
                target = next(other for other in others if other.live < other.rows).seat(row.owner)
                target.slab.copy(row, target, row.valid)
                row.owner.row = target
        slab.occupants, slab.live = [None] * slab.rows, 0


def common_prefix(first: list[int], second: list[int], limit: int) -> int:
    """How many leading items, at most `limit`, two lists share; by halving, on slices, at C
    speed.
    """
    low, high = 0, min(limit, len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def slab_lengths(base: int, longest: int) -> tuple[int, ...]:
    """The lengths of slabs: `base`, then four times as long each, and `longest` (both in
    tokens).
    """
    longest = math.ceil(longest / 8) * 8
    lengths = []
    while base < longest:
        lengths.append(base)
        base *= 4
    return (*lengths, longest)
