"""Structured output by xgrammar: compile off the event loop within bounds, mask logits, follow what was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from openllm.backends.pytorch.sequence import Sequence


def apply_grammars(scores: torch.Tensor, rows: list[Sequence]) -> None:
    """-inf, in place, for the tokens that each row's grammar forbids now; rows without one stay."""
    import xgrammar

    guided = [at for at, row in enumerate(rows) if row.matcher is not None]
    bitmask = xgrammar.allocate_token_bitmask(len(rows), scores.shape[-1])
    for at in guided:
        rows[at].matcher.fill_next_token_bitmask(bitmask, at)
    xgrammar.apply_token_bitmask_inplace(scores, bitmask.to(scores.device), indices=guided)
