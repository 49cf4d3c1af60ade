"""Run a step with the model's own cache, one forward pass per sequence: for what slots cannot
hold.
"""

from __future__ import annotations

from typing import Any

import attrs
import torch

from openllm.backends.pytorch.forward.executor import PrefixCounts
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel
from openllm.backends.pytorch.sequence import Sequence, StepWork


@attrs.define
class Memory:
    """What the model carries from one token of a sequence to the next, under its own names."""

    keywords: dict[str, Any]
    ids: torch.Tensor  # [1, tokens]: what `prepare_inputs_for_generation` expects
    computed: int = 0  # tokens of the sequence that are in
    logits: torch.Tensor | None = None  # of the last pass, for a step that is tried again


class SoloExecutor:
    """No slots and no shared prefixes; every sequence has a cache object of the model's own
    kind.
    """

    chunks = False

    def __init__(self, loaded: LoadedModel, limits: EngineLimits) -> None:
        self.model, self.device, self.limits = loaded.model, loaded.device, limits
        self.encoder_decoder = bool(loaded.model.config.is_encoder_decoder)
        self.prefixes = PrefixCounts()

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
                kept = self._advance(work.sequence, work.count)
            kept = kept if work.all_logits else kept[-1:]
            logits.append(kept)
            spans.append(slice(total, total + kept.shape[0]))
            total += kept.shape[0]
        return torch.cat(logits), spans

    def _advance(self, sequence: Sequence, count: int) -> torch.Tensor:
        """Feed the sequence's next `count` tokens; `[positions, vocabulary]`."""
        end, memory = sequence.computed + count, sequence.row
        if (
            memory is not None and memory.computed == end
        ):  # The step failed on another row after this one was done.
            done: torch.Tensor = memory.logits
            return done
        tokens = torch.tensor([sequence.tokens[sequence.computed : end]], device=self.device)
        first = memory is None
        if memory is None:
            memory = self._begin_encoded(tokens) if self.encoder_decoder else self._begin(tokens)
        else:
            memory.ids = torch.cat([memory.ids, tokens], dim=1)
        fresh = memory.ids.shape[1] if first else 1
        inputs = self.model.prepare_inputs_for_generation(
            memory.ids, next_sequence_length=fresh, is_first_iteration=first, **memory.keywords
        )
        out = self.model(**inputs, return_dict=True)
        memory.keywords = self.model._update_model_kwargs_for_generation(
            out, memory.keywords, is_encoder_decoder=self.encoder_decoder
        )
        logits: torch.Tensor = out.logits[0]
        memory.computed, memory.logits = end, logits
        sequence.row = memory
        return logits

    def _begin(self, tokens: torch.Tensor) -> Memory:
        return Memory({"attention_mask": torch.ones_like(tokens), "use_cache": True}, tokens)

    def _begin_encoded(self, tokens: torch.Tensor) -> Memory:
        encoded = self.model.get_encoder()(input_ids=tokens, return_dict=True)
        config = self.model.config
        start = getattr(config, "decoder_start_token_id", None)
        first = config.bos_token_id if start is None else start
        keywords = {
            "encoder_outputs": encoded,
            "attention_mask": torch.ones_like(tokens),
            "use_cache": True,
        }
        return Memory(keywords, torch.tensor([[first or 0]], device=self.device))
