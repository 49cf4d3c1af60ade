"""The KV cache of all rows: grown in powers of two as rows join and answers lengthen, freed when
the last leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

from openllm.backends.keras.runtime import Logits, Runtime

CHUNK = 512  # prompt tokens computed in one step
SHORTEST_CHUNK = 32
SHORTEST = 256  # tokens of a row


def bucket(size: int, shortest: int, longest: int) -> int:
    """The power of two at or above `size`, between `shortest` and `longest` (which need be
    none).
    """
    return min(max(shortest, 1 << (size - 1).bit_length()), longest)


@attrs.define(eq=False)
class Seat:
    """A row in use: the tokens it is to hold, and how many of them are in the cache."""

    row: int
    token_ids: list[int]
    filled: int = 0


class Pool:
    """Rows of one runtime's cache. `max_len` bounds a row, in tokens. Used by one thread."""

    def __init__(self, runtime: Runtime, max_len: int) -> None:
        self._runtime = runtime
        self._max_len = max_len
        self._cache: Any = None
        self._rows = self._length = 0

    @property
    def capacity(self) -> int:
        """Tokens the cache has room for now."""
        return self._rows * self._length

    def clear(self) -> None:
        """Forget all rows and free the cache."""
        self._cache, self._rows, self._length = None, 0, 0

    def prefill(self, seat: Seat, seats: Iterable[Seat]) -> Logits | None:
        """Compute the next chunk of `seat`; the logits after its last token once that is in, else
        None.

        A chunk is padded to a bucket. Where the padding would run past the row's end, the chunk
        begins earlier and computes some tokens again: positions are never clamped.
        """
        left = len(seat.token_ids) - seat.filled
        size = bucket(min(left, CHUNK), SHORTEST_CHUNK, min(CHUNK, self._max_len))
        first = min(seat.filled, self._max_len - size)
        end = min(first + size, len(seat.token_ids))
        chunk = np.zeros(size, np.int32)
        chunk[: end - first] = seat.token_ids[first:end]
        self._fit([*seats, seat], first + size)
        logits, self._cache = self._runtime.prefill(self._cache, seat.row, chunk, (first, end - 1))
        seat.filled = end
        return logits if end == len(seat.token_ids) else None

    def decode(self, ready: Sequence[Seat], seats: Iterable[Seat]) -> list[Logits]:
        """Compute the one missing token of every seat in `ready`; logits (vocabulary,) after it, in
        that order.

        The other rows compute one token as well, into the place that their next real token
        overwrites.
        """
        taken = list(seats)
        self._fit(taken, 0)
        token_ids, positions = np.zeros(self._rows, np.int32), np.zeros(self._rows, np.int32)
        for seat in taken:
            positions[seat.row] = seat.filled
        for seat in ready:
            token_ids[seat.row] = seat.token_ids[seat.filled]
        logits, self._cache = self._runtime.decode(self._cache, token_ids, positions)
        for seat in ready:
            seat.filled += 1
        return [logits[seat.row] for seat in ready]

    def _fit(self, seats: Sequence[Seat], length: int) -> None:
        """Make room for every seat and its next token, and for `length` tokens."""
        needed = max(length, *(seat.filled + 1 for seat in seats))
        rows = max(self._rows, bucket(1 + max(seat.row for seat in seats), 1, 1 << 30))
        length = max(self._length, bucket(needed, min(SHORTEST, self._max_len), self._max_len))
        if (rows, length) == (self._rows, self._length):
            return
        empty = self._cache is None
        self._cache = (
            self._runtime.empty(rows, length)
            if empty
            else self._runtime.resize(self._cache, rows, length)
        )
        self._rows, self._length = rows, length
