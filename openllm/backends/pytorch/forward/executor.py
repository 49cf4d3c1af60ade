"""What the engine needs of something that computes: places for sequences, and logits for a step's
work.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import torch

from openllm.backends.pytorch.sequence import Sequence, StepWork


@attrs.define
class PrefixCounts:
    """Prompt tokens looked up in the prefix cache and found there, since start."""

    hits: int = 0
    queries: int = 0


class Executor(Protocol):
    """`FlatExecutor` batches everything in one pass; `SoloExecutor` gives each sequence a pass of
    its own.
    """

    prefixes: PrefixCounts

    def portion(self, sequence: Sequence, wanted: int, most: int) -> int:
        """How many of the next `wanted` tokens of a sequence one step computes: `most`, unless they
        cannot be computed in parts.
        """

    def begin(self, sequence: Sequence) -> bool:
        """Find a place for a waiting sequence; False when there is no room now."""

    def extend(self, sequence: Sequence) -> bool:
        """Make room for the sequence's next token; False when there is none now."""

    def release(self, sequence: Sequence, *, reuse: bool) -> None:
        """Give up the sequence's place; `reuse` lets later prompts start from what it holds."""

    def forget_adapter(self, adapter: int) -> None:
        """Drop what was computed with an adapter that goes."""

    def usage(self, live: list[Sequence]) -> float:
        """Share of the memory budget in use, 0..1."""

    def forward(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        """Logits `[kept, vocabulary]`, and for each work which of them are its own."""
