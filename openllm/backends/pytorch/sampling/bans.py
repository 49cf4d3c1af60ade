"""What rows rule out of their next token: all but the tokens they allow, and what would complete a
word they do not want.
"""

from __future__ import annotations

import math

import torch

from openllm.backends.pytorch.sequence import Sequence
from openllm.backends.sampler import completing


class Bans:
    """Those of the rows of one batch; the tensors are made once for as long as it stays."""

    def __init__(self, rows: list[Sequence], width: int, device: torch.device) -> None:
        self._device = device
        limited = [at for at, row in enumerate(rows) if row.params.allowed_token_ids]
        self._wordy = [at for at, row in enumerate(rows) if row.job.request.bad_token_ids]
        self.some = bool(limited or self._wordy)
        self._others: torch.Tensor | None = None
        if limited:
            self._limited = torch.tensor(limited, device=device)
            others = torch.ones((len(limited), width), dtype=torch.bool)
            for place, at in enumerate(limited):
                others[place, list(rows[at].params.allowed_token_ids)] = False
            self._others = others.to(device)

    def apply(self, scores: torch.Tensor, rows: list[Sequence]) -> None:
        """-inf, in place, for what may not come next in `scores [rows, vocabulary]`."""
        if self._others is not None:
            kept = scores[self._limited].masked_fill(self._others, -math.inf)
            scores[self._limited] = kept
        banned = [
            (at, token)
            for at in self._wordy
            for token in completing(
                rows[at].job.request.bad_token_ids, rows[at].tokens[rows[at].prompt_length :]
            )
        ]
        if banned:
            at, tokens = torch.tensor(banned, device=self._device).unbind(1)
            scores[at, tokens] = -math.inf
