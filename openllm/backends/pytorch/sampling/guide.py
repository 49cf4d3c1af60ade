"""Where one choice is in its grammar: what may come next, and what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Guide:
    """One choice's way through a compiled grammar."""

    def __init__(self, compiled: Any, *, has_end_token: bool) -> None:
        import xgrammar

        self._matcher = xgrammar.GrammarMatcher(
            compiled, terminate_without_stop_token=not has_end_token
        )

    @property
    def done(self) -> bool:
        return bool(self._matcher.is_terminated())

    def accept(self, token: int) -> bool:
        """Take over a drawn token; False when the grammar had no way on."""
        return not self.done and bool(self._matcher.accept_token(token))

    def fill(self, bitmask: torch.Tensor, row: int) -> None:
        """Set the bits of the tokens that may come next in `bitmask[row]`."""
        if not self.done:
            self._matcher.fill_next_token_bitmask(bitmask, row)


def apply_guides(scores: torch.Tensor, guides: Sequence[Guide | None]) -> None:
    """-inf, in place, for the tokens that each row's guide forbids now; rows without one stay."""
    import xgrammar

    guided = {at: guide for at, guide in enumerate(guides) if guide is not None}
    bitmask = xgrammar.allocate_token_bitmask(len(guides), scores.shape[-1])
    for at, guide in guided.items():
        guide.fill(bitmask, at)
    xgrammar.apply_token_bitmask_inplace(scores, bitmask.to(scores.device), indices=list(guided))
