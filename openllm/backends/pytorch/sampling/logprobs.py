"""Log probabilities of the model itself: of the raw logits, before bias, penalties, grammar and
temperature.
"""

from __future__ import annotations

import torch

from openllm.types import TokenLogprob


def describe(logits: torch.Tensor, chosen: list[int], counts: list[int]) -> list[TokenLogprob]:
    """One TokenLogprob per row of `[rows, vocabulary]`: the chosen token's, its rank, and the
    `counts[i]` best.
    """
    scores = torch.log_softmax(logits.float(), dim=-1)
    ids = torch.tensor(chosen, device=logits.device)[:, None]
    own = scores.gather(-1, ids)
    ranks = (scores > own).sum(-1).add_(1).tolist()
    values, best = torch.topk(
        scores, max(1, *counts) if len(counts) > 1 else max(1, counts[0]), dim=-1
    )
    rows = zip(
        chosen, own.squeeze(-1).tolist(), ranks, values.tolist(), best.tolist(), counts, strict=True
    )
    return [
        TokenLogprob(token, logprob, rank, tuple(zip(tokens[:count], tops[:count], strict=True)))
        for token, logprob, rank, tops, tokens, count in rows
    ]
