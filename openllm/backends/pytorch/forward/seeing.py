"""Prompts with images over slots: computed by the model's own forward pass, as `generate()` does,
whose keys and values are then copied into slots.

What follows the last image is computed by the usual pass, so that its last token draws, or draws
again, as any other. What a model does with images alone (its vision part, attention in both
directions, positions in two dimensions) is so its own business; the rest of it is a text.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from openllm.backends.pytorch.forward.flat import LOGITS, FlatExecutor
from openllm.backends.pytorch.forward.slots import COPIES, Row
from openllm.backends.pytorch.forward.solo import SoloExecutor, begin_prompt
from openllm.backends.pytorch.sequence import Sequence, StepWork

POSITIONS = "position_ids"
CACHE = "past_key_values"


class SeeingExecutor(FlatExecutor):
    """Slots for texts, and for what follows images.

    `alone`, where it is set, has the sequences with images to itself: a model whose answers behind
    images slots do not give rightly.
    """

    alone: SoloExecutor | None = None

    # Places

    def portion(self, sequence: Sequence, wanted: int, most: int) -> int:
        if self._is_alone(sequence):
            return wanted
        if sequence.computed < self._seen(sequence):
            return self._seen(sequence) - sequence.computed
        return super().portion(sequence, wanted, most)

    def begin(self, sequence: Sequence) -> bool:
        return self._is_alone(sequence) or super().begin(sequence)

    def extend(self, sequence: Sequence) -> bool:
        return self._is_alone(sequence) or super().extend(sequence)

    def release(self, sequence: Sequence, *, reuse: bool) -> None:
        if self._is_alone(sequence):
            sequence.row = None
        else:
            super().release(sequence, reuse=reuse)

    def _is_alone(self, sequence: Sequence) -> bool:
        return self.alone is not None and sequence.job.sight is not None

    def _seen(self, sequence: Sequence) -> int:
        """Tokens from the first on that have images among them, and are computed at once."""
        sight = sequence.job.sight
        if sight is None:
            return 0
        return sight.end if self.chunks else sequence.prompt_length - 1

    def _looks(self, work: StepWork) -> bool:
        return work.sequence.computed < self._seen(work.sequence)

    def _continued(self, sequence: Sequence, shared: int) -> int:
        """What is shared of a prompt must hold its images, all of them."""
        sight = sequence.job.sight
        if sight is not None and shared < sight.end:
            return 0
        return super()._continued(sequence, shared)

    # Computing

    def forward(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        apart = [work for work in works if self._is_alone(work.sequence)]
        if self.alone is None or not apart:
            return super().forward(works, adapters)
        others = [work for work in works if not self._is_alone(work.sequence)]
        parts = [(apart, *self.alone.forward(apart, adapters))]
        if others:
            parts.append((others, *super().forward(others, adapters)))
        return _in_order(works, parts)

    def _compute(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        looking = [work for work in works if self._looks(work)]
        if not looking:
            return super()._compute(works, adapters)
        parts = []
        for work in looking:
            with adapters.applied([work.sequence.adapter]):
                logits = self._look(work)
            parts.append(([work], logits, [slice(0, logits.shape[0])]))
        others = [work for work in works if not self._looks(work)]
        if others:
            parts.append((others, *super()._compute(others, adapters)))
        return _in_order(works, parts)

    def _look(self, work: StepWork) -> torch.Tensor:
        """Compute a prompt up to the end of its images. Logits `[tokens, vocabulary]` where they
        are wanted, none else.
        """
        sequence, row = work.sequence, work.sequence.row
        tokens = torch.tensor([sequence.tokens[: work.count]], device=self.device)
        memory = begin_prompt(
            self.model, tokens, self.limits.max_model_len, sight=sequence.job.sight
        )
        cache = whole_cache(self.model.config)
        memory.keywords[CACHE] = cache
        inputs = self.model.prepare_inputs_for_generation(
            tokens,
            next_sequence_length=tokens.shape[1],
            is_first_iteration=True,
            **memory.keywords,
        )
        if self._chooses_logits:
            inputs[LOGITS] = 0 if work.all_logits else 1
        out = self.model(**inputs, return_dict=True)
        row.shift = next_position(inputs.get(POSITIONS), work.count) - work.count
        self._keep(row, cache, work.count)
        logits: torch.Tensor = out.logits[0]
        return logits if work.all_logits else logits[:0]

    def _keep(self, row: Row, cache: DynamicCache, count: int) -> None:
        """Copy what a pass has kept of `count` tokens into a row."""
        slab, states, shapes = row.slab, iter(row.slab.states), self.store.geometry.states
        for at, layer in enumerate(cache.layers):
            if getattr(layer, "keys", None) is not None:
                slab.keys[at][row.slot, :count] = layer.keys[0].transpose(0, 1)
                slab.values[at][row.slot, :count] = layer.values[0].transpose(0, 1)
            for shape in shapes[at] if shapes else ():
                kinds = layer.conv_states, layer.recurrent_states
                state = kinds[shape.recurrent][shape.index]
                next(states)[row.slot * COPIES + row.plan.body] = state[0]
        if slab.states:
            row.kept = row.plan.body  # where another prompt with these images may begin


def next_position(positions: torch.Tensor | None, count: int) -> int:
    """Where text goes on behind `count` tokens with images: behind the greatest of their positions
    `[1, tokens]`, or `[3 axes, 1, tokens]`, or the same with the place in the text as a first axis.
    """
    if positions is None:
        return count
    of_axes = positions[1:] if positions.dim() > 2 and positions.shape[0] > 3 else positions
    return int(of_axes.max()) + 1


def whole_cache(config: Any) -> DynamicCache:
    """A cache in which layers with a window keep all they are given."""
    cache = DynamicCache(config=config)
    cache.layers = [
        DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer
        for layer in cache.layers
    ]
    return cache


def _in_order(
    works: list[StepWork], parts: list[tuple[list[StepWork], torch.Tensor, list[slice]]]
) -> tuple[torch.Tensor, list[slice]]:
    """The logits of several passes as one, in the order of the works, and each work's slice."""
    found = {
        id(work): logits[span]
        for members, logits, spans in parts
        for work, span in zip(members, spans, strict=True)
    }
    pieces = [found[id(work)] for work in works]
    ends = list(itertools.accumulate(piece.shape[0] for piece in pieces))
    spans = [slice(end - piece.shape[0], end) for piece, end in zip(pieces, ends, strict=True)]
    return torch.cat(pieces), spans
