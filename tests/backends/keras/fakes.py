"""A runtime without a framework: its cache remembers which token stands where, its logits depend on
all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from openllm.backends.keras.families import Geometry
from openllm.backends.keras.runtime import Logits, Runtime, TokenIds

VOCAB = 64
UNSET = -1


def next_token(token_ids: list[int]) -> int:
    """The fake model: what comes after `token_ids`, never 0."""
    value = 7
    for token in token_ids:
        value = (value * 31 + token + 1) % 8191
    return 1 + value % (VOCAB - 1)


def greedy(prompt: list[int], size: int) -> list[int]:
    """What the fake model answers to `prompt`."""
    answer: list[int] = []
    for _ in range(size):
        answer.append(next_token([*prompt, *answer]))
    return answer


class FakeRuntime(Runtime):
    """Fails in the step whose number is in `fail_at`; counts steps and keeps the shapes it saw."""

    framework = "fake"
    failures = (RuntimeError,)

    def __init__(self, fail_at: tuple[int, ...] = (), error: Exception | None = None) -> None:
        super().__init__(None, Geometry(1, 1, 1, VOCAB, 4096))
        self.steps = 0
        self.shapes: set[tuple[int, int]] = set()
        self.nan_after: int | None = None  # a token after which the logits are not numbers
        self._fail_at = fail_at
        self._error = error or RuntimeError("out of memory")

    @property
    def device(self) -> str:
        return "cpu"

    def empty(self, rows: int, length: int) -> Any:
        return np.full((rows, length), UNSET)

    def resize(self, cache: Any, rows: int, length: int) -> Any:
        grown = self.empty(rows, length)
        grown[: cache.shape[0], : cache.shape[1]] = cache
        return grown

    def prefill(
        self, cache: Any, row: int, token_ids: TokenIds, span: tuple[int, int]
    ) -> tuple[Logits, Any]:
        self._count(cache)
        first, last = span
        assert first + len(token_ids) <= cache.shape[1], "a chunk must fit its row"
        cache = cache.copy()
        cache[row, first : first + len(token_ids)] = token_ids
        return self._logits(cache[row, : last + 1]), cache

    def decode(self, cache: Any, token_ids: TokenIds, positions: TokenIds) -> tuple[Logits, Any]:
        self._count(cache)
        cache = cache.copy()
        rows = np.arange(len(cache))
        assert len(token_ids) == len(positions) == len(cache)
        assert positions.max() < cache.shape[1], "a token must fit its row"
        cache[rows, positions] = token_ids
        return np.stack([self._logits(cache[row, : positions[row] + 1]) for row in rows]), cache

    def _count(self, cache: Any) -> None:
        self.steps += 1
        self.shapes.add(cache.shape)
        if self.steps in self._fail_at:
            raise self._error

    def _logits(self, token_ids: Any) -> Logits:
        logits = np.zeros(VOCAB, np.float32)
        logits[next_token([int(token) for token in token_ids])] = 10.0
        if self.nan_after is not None and token_ids[-1] == self.nan_after:
            logits[:] = np.nan
        return logits
