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
from openllm.backends.pytorch.sequence import Sequence, Sight, StepWork

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
# Inputs of processors that say something of each token `[1, tokens, ...]`.
OF_EACH_TOKEN = ("token_type_ids", "mm_token_type_ids", "cross_attention_mask")


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

    def __init__(self, loaded: LoadedModel, limits: EngineLimits, *, cached: bool = True) -> None:
        self.model, self.device, self.limits = loaded.model, loaded.device, limits
        self.cached = cached
        self.encoder_decoder = bool(loaded.model.config.is_encoder_decoder)
        self.prefixes = PrefixCounts()
        accepted = inspect.signature(loaded.model.forward).parameters
        self._chooses_logits = LOGITS in accepted

    def portion(self, sequence: Sequence, wanted: int, most: int) -> int:
        return wanted

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
            memory = begin_prompt(
                self.model,
                tokens,
                self.limits.max_model_len,
                cached=self.cached,
                sight=sequence.job.sight,
            )
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


def begin_prompt(
    model: Any, tokens: torch.Tensor, most: int, *, cached: bool = True, sight: Sight | None = None
) -> Memory:
    """What `generate()` prepares for a prompt `[1, tokens]`, perhaps with images, and at most
    `most` tokens more: positions, masks, the cache, what an encoder makes of it. It is stopped
    there.
    """

    def take(model: Any, input_ids: torch.Tensor, **keywords: Any) -> Memory:
        for name in NOT_OF_THE_MODEL:
            keywords.pop(name, None)
        return Memory(keywords, input_ids)

    begun: Memory = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        custom_generate=take,
        use_cache=cached,
        max_new_tokens=most,
        **({} if sight is None else features_of(sight, tokens, model.dtype)),
        **PLAIN,
    )
    return begun


def features_of(sight: Sight, tokens: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The inputs that stand for images, where the model is, and as long as the text is."""
    found = {}
    for name, feature in sight.features.items():
        if name in OF_EACH_TOKEN:  # what was written behind the prompt is text, and has none
            more = max(tokens.shape[1] - feature.shape[1], 0)
            padding = [0, 0] * (feature.dim() - 2) + [0, more]
            feature = torch.nn.functional.pad(feature[:, : tokens.shape[1]], padding)
        kind = dtype if feature.is_floating_point() else feature.dtype
        found[name] = feature.to(tokens.device, kind)
    return found
