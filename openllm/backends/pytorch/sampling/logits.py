"""Pure functions on logits `[rows, vocabulary]`: penalties, truncation, drawing; one row never
affects another.
"""

from __future__ import annotations

import numpy as np
import torch

CANDIDATES = (64, 1024)  # how many best tokens are looked at before the whole vocabulary is sorted


def uniform(seeds: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """One number in [0, 1) per row from its seed and how many tokens it has; SplitMix64's
    finaliser, 23 bits.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        mixed = seeds.astype(np.uint64) * np.uint64(0xD1342543DE82EF95)
        mixed += (steps.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(41)).astype(np.float64) * 2.0**-23).astype(np.float32)


def penalise(
    logits: torch.Tensor, counts: torch.Tensor, seen: torch.Tensor, factors: torch.Tensor
) -> torch.Tensor:
    """Repetition (over prompt and answer), then frequency and presence (over the answer), as OpenAI
    defines them.

    `counts [rows, vocabulary]`: of the answer. `seen`: in the prompt. `factors [rows, 3]`: in the
    order above.
    """
    repetition, frequency, presence = factors[:, 0:1], factors[:, 1:2], factors[:, 2:3]
    present = counts > 0
    scaled = torch.where(logits > 0, logits / repetition, logits * repetition)
    logits = torch.where(seen | present, scaled, logits)
    return logits - frequency * counts - presence * present


def truncate(
    logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, min_p: torch.Tensor
) -> torch.Tensor:
    """-inf for tokens outside min_p, then top_k, then top_p of what is left; parameters are `[rows,
    1]`.

    Off is min_p 0, top_k = vocabulary, top_p 1. Tokens that tie with the last one kept are kept.
    """
    highest = logits.max(-1, keepdim=True).values
    logits = logits.masked_fill(logits < highest + torch.log(min_p), float("-inf"))
    threshold = _threshold(logits, top_k, top_p)
    return logits.masked_fill(logits < threshold, float("-inf"))


def _threshold(logits: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The lowest logit that top_k and top_p keep, `[rows, 1]`; looks at few tokens where they
    settle it.
    """
    vocabulary = logits.shape[-1]
    total = torch.logsumexp(logits, -1, keepdim=True)
    if logits.device.type == "cpu":  # Elsewhere asking "do these suffice?" would stall the device.
        for count in CANDIDATES:
            if count < vocabulary:
                best = torch.topk(logits, count).values
                mass = torch.exp(best - total).sum(-1, keepdim=True)
                if bool(((top_k <= count) | ((top_k >= vocabulary) & (mass >= top_p))).all()):
                    return _lowest_kept(best, total, top_k, top_p)
    return _lowest_kept(torch.sort(logits, descending=True).values, total, top_k, top_p)


def _lowest_kept(
    best: torch.Tensor, total: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor
) -> torch.Tensor:
    """The same from the best logits in falling order, enough of them to settle it."""
    count = best.shape[-1]
    last = best.gather(-1, (top_k - 1).clamp(max=count - 1))
    limited = best.masked_fill(best < last, float("-inf"))
    # Where top_k is on, top_p is a share of what top_k left.
    total = torch.where(top_k <= count, torch.logsumexp(limited, -1, keepdim=True), total)
    shares = torch.exp(limited - total)
    before = shares.cumsum(-1) - shares
    kept = (
        (((before < top_p) | (top_p >= 1)) & (limited > float("-inf")))
        .sum(-1, keepdim=True)
        .clamp(min=1)
    )
    return best.gather(-1, kept - 1)


def draw(logits: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """Token ids `[rows]` by inverting the cumulative distribution at `chance [rows, 1]`."""
    cumulative = torch.softmax(logits, dim=-1).cumsum(-1)
    return torch.searchsorted(cumulative, chance * cumulative[:, -1:], right=True).squeeze(-1)
