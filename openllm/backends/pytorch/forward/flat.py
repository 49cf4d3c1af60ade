"""Run a step in one forward pass: the tokens of all sequences laid out flat, keys and values in
slots.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from operator import itemgetter
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

from openllm.backends.pytorch.forward.attention import (
    AttentionSwitch,
    Blocks,
    Chunk,
    Decode,
    SlotCache,
    Stage,
    Window,
)
from openllm.backends.pytorch.forward.executor import PrefixCounts
from openllm.backends.pytorch.forward.fused import FusedModel
from openllm.backends.pytorch.forward.graphs import DecodeGraphs, Recorder
from openllm.backends.pytorch.forward.latent import latent_attention
from openllm.backends.pytorch.forward.longrope import long_rotations, short_length
from openllm.backends.pytorch.forward.own import own_attention
from openllm.backends.pytorch.forward.slots import (
    CacheShape,
    Row,
    Slab,
    SlotStore,
    common_prefix,
    slab_lengths,
)
from openllm.backends.pytorch.forward.states import (
    cache_name,
    layer_states,
    plan_stage,
    plan_state,
    state_modules,
)
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel
from openllm.backends.pytorch.lora.adapters import AdapterBank
from openllm.backends.pytorch.sequence import Sequence, StepWork

LOGITS = "logits_to_keep"  # the argument of a model that says of which tokens to compute them
SHORTEST_PREFIX = 8  # tokens; a shorter shared prefix is cheaper to compute again than to copy
HEADROOM = 64  # tokens of answer that a row is placed for at first; moving it later is cheap
LENGTH_STEP = 64  # attention looks at lengths rounded up to this
KNOWN_LAYERS = (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)


class FlatExecutor:
    """Owns the slots of one decoder model. All methods run on the engine's thread."""

    def __init__(
        self,
        loaded: LoadedModel,
        geometry: CacheShape,
        windows: tuple[Window, ...],
        limits: EngineLimits,
    ) -> None:
        self.model, self.device, self.limits = loaded.model, loaded.device, limits
        self.chunks = True  # False: several tokens at once only from the beginning of a text
        shortest = limits.slab_length if geometry.token_bytes else limits.max_model_len
        lengths = slab_lengths(shortest, limits.max_model_len)
        self.store = SlotStore(geometry, limits.kv_bytes, lengths, limits.slab_rows)
        self.prefixes = PrefixCounts()
        self._cache = SlotCache(windows)
        self._switch = AttentionSwitch(loaded.model)
        self._switch.replace(own_attention(loaded.model, limits.max_model_len))
        self._switch.replaced += latent_attention(loaded.model, self._cache)
        self._switch.replaced += state_modules(loaded.model, geometry.states, self._cache)
        self.short = short_length(loaded.model.config, limits.max_model_len)
        if self.short is not None:
            self._switch.replaced += long_rotations(loaded.model, self.short, self._cache)
        self._cache.reckoned = frozenset(
            module.layer_idx
            for module in loaded.model.modules()
            if getattr(module, "attn_temperature_tuning", False) and hasattr(module, "layer_idx")
        )
        self._cache_name = cache_name(loaded.model)
        self._chooses_logits = LOGITS in inspect.signature(loaded.model.forward).parameters
        self.fused: FusedModel | None = None  # computes in place of the model's own pass
        self.graphs: DecodeGraphs | None = None

    def record_steps(self, record: Recorder, adapters: Any) -> None:
        """From now on replay recorded decode steps; the usual ones are recorded at once."""
        call = functools.partial(self._call, adapters=adapters)
        self.graphs = DecodeGraphs(call, self.device, record)
        if (slab := self.store.first_slab()) is not None:
            self.graphs.record_ahead(slab, adapters)

    # Places

    def portion(self, sequence: Sequence, wanted: int, most: int) -> int:
        return min(wanted, most) if self.chunks else wanted

    def begin(self, sequence: Sequence) -> bool:
        """Give a waiting sequence a row, filled from a shared prefix if there is one; False: no
        room now.
        """
        donor, shared = self._find_donor(sequence)
        params = sequence.params
        need = len(sequence.tokens) + min(
            (params.max_tokens or HEADROOM) - sequence.generated, HEADROOM
        )
        need = min(max(need, len(sequence.tokens) + 1), self.limits.max_model_len)
        adopted = (
            donor is not None
            and donor.owner is None
            and shared == donor.valid
            and need <= donor.slab.length
        )
        if donor is not None and adopted:
            donor.slab.revive(donor, sequence)
            row: Row | None = donor
        else:
            row = self.store.place(sequence, need)
        if row is None:
            return False
        # Placing may have evicted the donor: then its row is out of its slab, or its slab is gone.
        if donor is not None and donor is not row and donor.slab.occupants[donor.slot] is donor:
            row.slab.copy(donor, row, shared)
        elif donor is not row:
            shared = 0
        sequence.row, sequence.computed, row.salt = row, shared, self._salt(sequence)
        if sequence.generated == 0 and sequence.index == 0 and self.limits.prefix_caching:
            sequence.cached = shared
            self.prefixes.queries += sequence.prompt_length
            self.prefixes.hits += shared
        return True

    def _find_donor(self, sequence: Sequence) -> tuple[Row | None, int]:
        first = sequence.job.sequences[0]
        if sequence.params.prompt_logprobs is not None and sequence is first:
            return None, 0
        beside = isinstance(first.row, Row) and first.row.owner is first
        if sequence is not first and beside and first.row.salt == self._salt(sequence):
            limit = min(first.computed, sequence.prompt_length - 1)
            shared = first.row.reach(common_prefix(sequence.tokens, first.tokens, limit))
            shared = self._continued(sequence, shared)
            # A copy of no tokens would take the new row's state after none away.
            return (first.row, shared) if shared > 0 else (None, 0)
        if not self.limits.prefix_caching:
            return None, 0
        donor, shared = self.store.find_prefix(
            sequence.tokens, sequence.adapter, self._salt(sequence)
        )
        shared = self._continued(sequence, shared)
        return (donor, shared) if shared >= SHORTEST_PREFIX else (None, 0)

    def _is_long(self, sequence: Sequence) -> bool:
        return self.short is not None and len(sequence.tokens) > self.short

    def _salt(self, sequence: Sequence) -> Hashable:
        """Rows of one salt hold the same for the same tokens."""
        return (sequence.salt, "long") if self._is_long(sequence) else sequence.salt

    def _continued(self, sequence: Sequence, shared: int) -> int:
        """So many tokens shared, or none where what is left could not be computed at once."""
        return shared if self.chunks or shared == len(sequence.tokens) - 1 else 0

    def extend(self, sequence: Sequence) -> bool:
        """Make sure that the sequence's next token fits its row; False: no room now. A text that
        has become long is to be computed anew.
        """
        row = sequence.row
        if self.short is not None and row is not None and row.salt != self._salt(sequence):
            sequence.computed, row.salt = 0, self._salt(sequence)
        return sequence.row is None or self.store.grow(sequence.row, len(sequence.tokens))

    def release(self, sequence: Sequence, *, reuse: bool) -> None:
        """End a sequence's hold on its row; with `reuse` its prefix stays until the place is
        needed.
        """
        row, sequence.row = sequence.row, None
        if row is None:
            return
        if reuse and self.limits.prefix_caching and sequence.computed >= SHORTEST_PREFIX:
            self.store.park(row)
        else:
            row.slab.vacate(row, park=False)

    def forget_adapter(self, adapter: int) -> None:
        self.store.forget(adapter)

    def usage(self, live: list[Sequence]) -> float:
        """Share of the memory budget that live sequences hold."""
        shape = self.store.geometry
        held = sum(sequence.computed for sequence in live) * shape.token_bytes
        held += len(live) * shape.row_bytes
        return min(1.0, held / self.store.budget)

    # Computing

    def claim_length(self, tokens: int) -> None:
        """Let the cache say from now on that it holds so many tokens: for the rehearsal."""
        self._cache.claimed = tokens

    def forward(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        """Logits `[kept, vocabulary]`, and for each work which of them are its own. Writes keys and
        values.
        """
        if not self.store.geometry.row_bytes:
            return self._compute(works, adapters)
        for work in works:
            row, start = work.sequence.row, work.sequence.computed
            row.plan = plan_state(row, start, work.count, draws=work.draws)
        found = self._compute(works, adapters)
        for work in works:
            work.sequence.row.plan.commit()
        return found

    def _compute(self, works: list[StepWork], adapters: Any) -> tuple[torch.Tensor, list[slice]]:
        if self.graphs is not None and (steady := self.graphs.run(works, adapters)) is not None:
            return steady, [slice(at, at + 1) for at in range(len(works))]
        layout = _Layout(works, self.device)
        kept, spans = layout.kept(works)
        ids = torch.tensor([layout.tokens], device=self.device)
        positions = torch.tensor([layout.positions], device=self.device)
        if self.short is not None:
            self._cache.long = torch.tensor(layout.flags(works, self._is_long), device=self.device)
        with adapters.applied(layout.adapters):
            wanted = torch.tensor(kept, device=self.device)
            logits = self._call(ids, positions, layout.stages, wanted, adapters=adapters)
        self._cache.long = None
        return logits, spans

    def _call(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        stages: list[Stage],
        kept: torch.Tensor | int = 0,
        *,
        adapters: AdapterBank,
    ) -> torch.Tensor:
        """One forward pass; logits `[kept, vocabulary]`, of all tokens when `kept` is 0."""
        self._cache.stages, self._cache.positions = stages, positions[0]
        with self._cache.adapted(adapters), self._switch.over_slots():
            if self.fused is not None:
                return self.fused(ids, positions, stages, kept, adapters)
            chosen = {LOGITS: kept} if self._chooses_logits else {}
            out = self.model(
                input_ids=ids,
                position_ids=positions,
                use_cache=True,
                **{self._cache_name: self._cache},
                **chosen,
            )
        logits: torch.Tensor = out.logits[0]
        return logits if chosen or isinstance(kept, int) else logits[kept]


class _Layout:
    """Flat tokens of a step, slab by slab: rows that add one token first, then runs of several."""

    def __init__(self, works: list[StepWork], device: torch.device) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.adapters: list[int] = []
        self.stages: list[Stage] = []
        self._begins: dict[int, int] = {}
        self._device = device
        slabs: dict[int, tuple[Slab, list[StepWork]]] = {}
        for work in works:
            slab = work.sequence.row.slab
            slabs.setdefault(id(slab), (slab, []))[1].append(work)
        for slab, members in slabs.values():
            self._add_stage(slab, members)

    def _add_stage(self, slab: Slab, works: list[StepWork]) -> None:
        begin = len(self.tokens)
        write: list[int] = []
        singles = sorted(
            (work for work in works if work.count == 1), key=lambda work: work.sequence.row.slot
        )
        chunks = []
        for work in singles:
            self._add_tokens(work, write)
        for work in works:
            if work.count > 1:
                chunks.append(
                    Chunk(
                        len(self.tokens), work.count, work.sequence.row.slot, work.sequence.computed
                    )
                )
                self._add_tokens(work, write)
        decode = self._decode(begin, singles, slab.length) if singles else None
        stage = Stage(slab, begin, len(self.tokens), self._tensor(write), decode, chunks)
        if slab.states:
            plans = [(self._begins[id(work)], work.sequence.row.plan) for work in works]
            stage.states = plan_stage(stage, sorted(plans, key=itemgetter(0)), self._device)
        self.stages.append(stage)

    def _add_tokens(self, work: StepWork, write: list[int]) -> None:
        sequence, start = work.sequence, work.sequence.computed
        end, base = start + work.count, sequence.row.slot * sequence.row.slab.length
        self._begins[id(work)] = len(self.tokens)
        self.tokens += sequence.tokens[start:end]
        shift = sequence.row.shift
        self.positions += range(start + shift, end + shift)
        self.adapters += [sequence.adapter] * work.count
        write += range(base + start, base + end)

    def _decode(self, begin: int, singles: list[StepWork], longest: int) -> Decode:
        slots = [work.sequence.row.slot for work in singles]
        span = slots[-1] + 1
        positions = [0] * span
        for slot, work in zip(slots, singles, strict=True):
            positions[slot] = work.sequence.computed
        length = min(longest, -(-(max(positions) + 1) // LENGTH_STEP) * LENGTH_STEP)
        dense = span == len(slots)
        where = None if dense else self._tensor(slots)
        return Decode(begin, len(slots), span, length, self._tensor(positions), where)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)

    def flags(self, works: list[StepWork], is_so: Callable[[Sequence], bool]) -> list[bool]:
        """Per flat token what is said of its sequence."""
        flags = [False] * len(self.tokens)
        for work in works:
            begin = self._begins[id(work)]
            flags[begin : begin + work.count] = [is_so(work.sequence)] * work.count
        return flags

    def kept(self, works: list[StepWork]) -> tuple[list[int], list[slice]]:
        """Which flat tokens' logits are wanted, in the order of `works`, and each work's slice of
        them.
        """
        kept: list[int] = []
        spans = []
        for work in works:
            begin, first = self._begins[id(work)], len(kept)
            if work.all_logits:
                kept += range(begin, begin + work.count)
            elif work.draws:
                kept.append(begin + work.count - 1)
            spans.append(slice(first, len(kept)))
        # A step of inner chunks alone wants none, but a model is asked for at least one.
        return kept or [len(self.tokens) - 1], spans


def layer_windows(config: Any) -> tuple[Window, ...] | None:
    """Per layer its sliding window or its blocks, or None when some layer keeps other things than
    keys and values of its own, or a state.
    """
    layers = DynamicCache(config=config).layers
    if any(type(layer) not in KNOWN_LAYERS for layer in layers):
        return None
    if not layers:
        return None
    text = config.get_text_config(decoder=True)
    kinds = getattr(text, "layer_types", None) or [None] * len(layers)
    windows = [getattr(layer, "sliding_window", None) for layer in layers]
    return tuple(
        Blocks(window) if kind == "chunked_attention" and window is not None else window
        for kind, window in zip(kinds, windows, strict=False)
    )


def probe_geometry(loaded: LoadedModel, tokens: list[int]) -> tuple[CacheShape, torch.Tensor]:
    """The shape of the model's cache, and its own logits `[tokens, vocabulary]` for `tokens`, by
    one forward pass.
    """
    cache = DynamicCache(config=loaded.model.config)
    ids = torch.tensor([tokens], device=loaded.device)
    held = {cache_name(loaded.model): cache}
    logits = loaded.model(input_ids=ids, use_cache=True, **held).logits[0]
    pairs = [
        (layer.keys, layer.values) if getattr(layer, "keys", None) is not None else None
        for layer in cache.layers
    ]
    shapes = tuple(
        (0, 0, 0) if pair is None else (pair[0].shape[1], pair[0].shape[3], pair[1].shape[3])
        for pair in pairs
    )
    dtype = next((pair[0].dtype for pair in pairs if pair is not None), loaded.dtype)
    states = tuple(layer_states(layer) for layer in cache.layers)
    return CacheShape(shapes, dtype, loaded.device, states), logits
