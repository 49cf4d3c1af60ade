"""Run a step with the model's own cache, one forward pass per sequence: for what slots cannot
hold.
"""

from __future__ import annotations

import inspect
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.forward.executor import PrefixCounts
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel
from openllm.backends.pytorch.sequence import Sequence, StepWork

LOGITS = "logits_to_keep"
# What `generate()` is told whatever the model's generation_config says: tokens are drawn by us.
PLAIN: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "cache_implementation": "dynamic",
}
# What it hands on that no forward pass takes.
NOT_OF_THE_MODEL = ("logits_processor", "stopping_criteria", "generation_config")


@attrs.define
class Memory:
    """What the model carries from one token of a sequence to the next, under its own names."""

    keywords: dict[str, Any]
    ids: torch.Tensor  # [1, tokens]: what `prepare_inputs_for_generation` expects
    computed: int = 0  # tokens of the sequence that are in
    logits: torch.Tensor | None = None  # of the last pass, for a step that is tried again


class SoloExecutor:
    """No slots and no shared prefixes; every sequence has a cache object of the model's own
    kind, or none at all: with `cached` False each token is computed from the whole text again.
    """

    chunks = False

    def __init__(self, loaded: LoadedModel, limits: EngineLimits, *, cached: bool = True) -> None:
        self.model, self.device, self.limits = loaded.model, loaded.device, limits
        self.cached = cached
        self.encoder_decoder = bool(loaded.model.config.is_encoder_decoder)
        self.prefixes = PrefixCounts()
        accepted = inspect.signature(loaded.model.forward).parameters
        self._chooses_logits = LOGITS in accepted

    def begin(self, sequence: Sequence) -> bool:
        return True

    def extend(self, sequence: Sequence) -> bool:
        return True

    def release(self, sequence: Sequence, *, reuse: bool) -> None:
        sequence.row = None

    def forget_adapter(self, adapter: int) -> None:
        """Nothing is kept between sequences."""

    def usage(self, live: list[Sequence]) -> float:
        return min(1.0, len(live) / self.limits.max_num_seqs)

    def forward(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        """One pass per sequence; logits of every position for a prompt whose logprobs are
        wanted.
        """
        logits, spans, total = [], [], 0
        for work in works:
            with adapters.applied([work.sequence.adapter]):
                kept = self._advance(work)
            kept = kept if work.all_logits else kept[-1:]
            logits.append(kept)
            spans.append(slice(total, total + kept.shape[0]))
            total += kept.shape[0]
        return torch.cat(logits), spans

    def _advance(self, work: StepWork) -> torch.Tensor:
        """Feed the next `count` tokens of a sequence; `[positions, vocabulary]`."""
        sequence = work.sequence
        end, memory = sequence.computed + work.count, sequence.row
        if (
            memory is not None and memory.computed == end
        ):  # The step failed on another row after this one was done.
            done: torch.Tensor = memory.logits
            return done
        tokens = torch.tensor([sequence.tokens[sequence.computed : end]], device=self.device)
        first = memory is None
        if memory is None:
            memory = self._begin(tokens)
        else:
            memory.ids = torch.cat([memory.ids, tokens], dim=1)
        fresh = memory.ids.shape[1] if first or not self.cached else work.count
        inputs = self.model.prepare_inputs_for_generation(
            memory.ids, next_sequence_length=fresh, is_first_iteration=first, **memory.keywords
        )
        if self._chooses_logits:
            inputs[LOGITS] = 0 if work.all_logits else 1
        out = self.model(**inputs, return_dict=True)
        memory.keywords = self.model._update_model_kwargs_for_generation(
            out, memory.keywords, is_encoder_decoder=self.encoder_decoder
        )
        logits: torch.Tensor = out.logits[0]
        memory.computed, memory.logits = end, logits
        sequence.row = memory
        return logits

    def _begin(self, tokens: torch.Tensor) -> Memory:
        """What `generate()` prepares for a prompt: positions, masks, the cache, what an encoder
        makes of it. It is stopped there.
        """

        def take(model: Any, input_ids: torch.Tensor, **keywords: Any) -> Memory:
            for name in NOT_OF_THE_MODEL:
                keywords.pop(name, None)
            return Memory(keywords, input_ids)

        begun: Memory = self.model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            custom_generate=take,
            use_cache=self.cached,
            max_new_tokens=self.limits.max_model_len,
            **PLAIN,
        )
        return begun
