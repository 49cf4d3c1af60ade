"""Apply to a step's scores what the rows' guides allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from openllm.backends.grammar.guide import Guide


def apply_masks(scores: torch.Tensor, guides: Sequence[Guide | None]) -> None:
    """-inf, in place, for the tokens that each row's guide forbids now; rows without one stay.
    Every guide knows what may come.
    """
    import xgrammar

    masks = {at: guide.mask for at, guide in enumerate(guides) if guide and guide.mask is not None}
    if not masks:
        return
    bitmask = xgrammar.allocate_token_bitmask(len(guides), scores.shape[-1])
    words = bitmask.numpy()
    for at, mask in masks.items():
        words[at] = np.frombuffer(mask, dtype=np.int32)
    xgrammar.apply_token_bitmask_inplace(scores, bitmask.to(scores.device), indices=list(masks))
