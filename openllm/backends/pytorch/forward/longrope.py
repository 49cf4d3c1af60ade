"""Rotations that have one set of factors for short texts and another for long ones (Phi's
"longrope"): in a pass over slots each token gets those of its own text.

A text that outgrows the short ones is computed anew, as Phi's `generate()` does it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad

from openllm.backends.pytorch.forward.attention import Replacement, SlotCache

# Only of these is it known that `generate()` computes a text anew where it becomes long.
KINDS = ("Phi3RotaryEmbedding", "PhimoeRotaryEmbedding", "Phi4MultimodalRotaryEmbedding")


def short_length(config: Any, longest: int) -> int | None:
    """Up to how many tokens a text is short; None where that makes no difference, or nothing is
    known of it.
    """
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    length = int(rope.get("original_max_position_embeddings") or longest)
    return length if length < longest else None


def long_rotations(model: Any, length: int, cache: SlotCache) -> list[Replacement]:
    """What stands in for the rotations of a model whose texts are short up to `length` tokens.
    Errors: LookupError for a model of which that is not known.
    """
    found = [module for module in model.modules() if type(module).__name__ in KINDS]
    if not found:
        raise LookupError("nothing is known of its rotations")
    return [
        Replacement(module, "forward", _Rotation(module.forward, length, cache)) for module in found
    ]


class _Rotation:
    """Both sets of one module, by its own forward pass: which it takes follows from the greatest
    position.
    """

    def __init__(self, own: Any, length: int, cache: SlotCache) -> None:
        self._own, self._length, self._cache = own, length, cache

    def __call__(self, hidden: torch.Tensor, position_ids: torch.Tensor) -> tuple[Any, ...]:
        """Cosines and sines `[1, tokens, width]`."""
        short = self._own(hidden, position_ids.clamp(max=self._length - 1))
        long = self._own(hidden, pad(position_ids, (0, 1), value=self._length))
        wanted = self._cache.long
        if wanted is None:
            wanted = position_ids[0] >= self._length
        # tokens behind those of the step are padding
        wanted = pad(wanted, (0, position_ids.shape[1] - wanted.shape[0]))[None, :, None]
        return tuple(
            torch.where(wanted, late[:, :-1], early)
            for late, early in zip(long, short, strict=True)
        )
