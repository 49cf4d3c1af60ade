"""Whether a model fits a machine, and with how much context for how many at once: weights, what
sequences keep, activations, recorded steps and adapters, added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from openllm.facts import MemoryUse
from openllm.hardware.fields import first, text_fields
from openllm.hardware.fit import MOST_CPU_CACHE, cpu_cache
from openllm.hardware.gpus import Gpu
from openllm.hardware.memory import MachineMemory
from openllm.hardware.parameters import WeightParts
from openllm.hardware.sequence import Kept
from openllm.hardware.shape import (
    DTYPE_BYTES,
    ModelShape,
    hidden_size,
    longest_context,
    model_shape,
)

USUAL_CONTEXT = 4096  # tokens, of a model that does not say what it was made for
_FLOAT = 4  # bytes; logits are drawn from in fp32


@attrs.frozen
class PlannedModel:
    """What a plan has to know of a model, as it would be loaded."""

    shape: ModelShape
    kept: Kept
    parts: WeightParts
    dtype: str  # of activations
    cache_dtype: str  # of keys and values
    hidden: int
    wide: int  # numbers of a token inside a layer: intermediate ones, of all experts that it takes
    longest: int  # tokens
    quantization: str | None = None  # made while it loads

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        kept: Kept,
        parts: WeightParts,
        dtypes: tuple[str, str],
        quantization: str | None = None,
    ) -> PlannedModel:
        """`dtypes` are those of activations, and of keys and values."""
        fields = text_fields(config)
        taken = first(fields, "num_experts_per_tok", "num_experts_per_token", "moe_topk")
        inner = first(fields, "moe_intermediate_size", "expert_ffn_hidden_size")
        shape = model_shape(config)
        wide = max(shape.intermediate, taken * (inner or shape.intermediate))
        longest = longest_context(config) or USUAL_CONTEXT
        return cls(shape, kept, parts, *dtypes, hidden_size(config), wide, longest, quantization)

    @property
    def cache_item(self) -> float:
        """Bytes of a number of keys and values."""
        return DTYPE_BYTES.get(self.cache_dtype, 2)


@attrs.frozen
class Demand:
    """What is to be served; None: as much as fits."""

    context: int | None = None  # tokens
    streams: int | None = None  # sequences at once
    cache: int | None = None  # bytes that the engine is told to take for keys and values
    share: float | None = None  # of a GPU that it is told to take
    adapters: int = 0  # mounted at once
    rank: int = 16
    eager: bool = False  # no steps are recorded
    draft: int = 0  # bytes of another model's weights, which drafts for this one


@attrs.frozen
class Devices:
    """Where a model would run: on `gpus` together, else on the machine's processor. Each of
    `copies` has as many of the GPUs to itself; only experts are divided among all of them.
    """

    memory: MachineMemory
    gpus: tuple[Gpu, ...] = ()
    copies: int = 1
    bf16: bool = False  # the processor multiplies it by instructions of its own

    @property
    def on_gpu(self) -> bool:
        return bool(self.gpus)

    @property
    def sharing(self) -> int:
        """How many devices hold one copy together."""
        return max(len(self.gpus) // self.copies, 1)


@attrs.frozen
class MemoryPlan:
    """The sum, in bytes. On several GPUs all figures are those of one of them, the smallest; on a
    CPU of the machine.
    """

    place: Devices
    weights: int
    loading: int  # beside the weights, for as long as they load and are laid out
    mapped: int  # of the files, while they are read: the system takes it back where it is short
    activations: int
    graphs: int
    adapters: int
    process: int  # of the engine itself: a GPU's context, or the interpreter and its libraries
    room: int  # that the engine may take
    cache: int  # of the room, for keys and values; below 0: the weights alone are too much
    context: int  # tokens of one sequence, as asked or as fits
    streams: int  # of that length, at once
    sequence: int  # bytes of one of them
    most_context: int  # that one sequence alone can have
    most_streams: int  # of `context` at once
    merging: int = 0  # of `loading`: what has its peak while the files are read
    told: int = 0  # bytes for keys and values that the engine was told to take
    passing: int = 0  # of the machine, beside GPUs: processes, and files while they are read

    @property
    def fixed(self) -> int:
        """All but keys and values."""
        return self.weights + self.activations + self.graphs + self.adapters + self.process

    @property
    def serving(self) -> int:
        """Beside the weights and the engine itself, while what was asked is served."""
        kept = max(self.sequence * self.streams, self.told)
        return self.fixed - self.weights - self.process + kept

    @property
    def needed(self) -> int:
        """What must be there, or the engine cannot serve what was asked."""
        return self.weights + self.process + max(self.serving, self.loading)

    @property
    def least(self) -> int:
        """What must be free or the weights cannot even be loaded, the engine itself left out: a
        process that asks has a part of that already.
        """
        return self.weights + self.loading + self.graphs

    @property
    def peak(self) -> int:
        """What a process monitor shows at most: pages of the files that are read are among it."""
        beside = max(self.serving, self.loading, self.mapped + self.merging)
        return self.weights + self.process + beside

    @property
    def machine(self) -> int:
        """Of the machine's own memory, whether or not the model lies on GPUs."""
        return self.passing if self.place.on_gpu else self.needed

    @property
    def fits(self) -> bool:
        """Whether what was asked fits."""
        return (
            self.needed <= self.room
            and self.most_context >= self.context > 0
            and self.most_streams >= self.streams > 0
        )


def plan_memory(model: PlannedModel, use: MemoryUse, place: Devices, demand: Demand) -> MemoryPlan:
    """What the engine of `use` takes of `place` to serve `demand` with `model`."""
    count = place.sharing
    weights = _weights(model, use, place) + demand.draft
    activations = _activations(model, use, place, demand)
    graphs = 0 if demand.eager or not place.on_gpu else use.graphs
    adapters = -(-_adapters(model, demand) // count)
    process = use.context if place.on_gpu else use.process
    room = _room(use, place, demand)
    fixed = weights + activations + graphs + adapters + process
    cache = demand.cache if demand.cache is not None else _cache(place, demand, room - fixed)
    item = model.cache_item / _split(model, count)
    most_context = min(model.kept.longest(cache, item, use), model.longest) if cache > 0 else 0
    context = demand.context or most_context
    sequence = model.kept.sequence_bytes(context, item, use) if context else 0
    merging, packing = (0, 0) if place.on_gpu else _loading(model, use)
    return MemoryPlan(
        place=place,
        weights=weights,
        loading=max(merging, packing + use.working) if not place.on_gpu else 0,
        mapped=0 if place.on_gpu else model.parts.stored,
        activations=activations,
        graphs=graphs,
        adapters=adapters,
        process=process,
        room=room,
        cache=cache,
        context=context,
        streams=demand.streams or 1,
        sequence=sequence,
        most_context=most_context,
        most_streams=_streams(cache, sequence, use, place, demand)
        if most_context >= context
        else 0,
        merging=merging,
        told=demand.cache or 0,
        passing=use.process * len(place.gpus) + model.parts.stored if place.on_gpu else 0,
    )


def _weights(model: PlannedModel, use: MemoryUse, place: Devices) -> int:
    """On each device."""
    parts = model.parts
    again = use.packs and parts.tied and not place.on_gpu and 4 * parts.table <= place.memory.free
    total = parts.total + (parts.table if again else 0)
    experts = -(-parts.experts // (place.sharing * place.copies))
    return -(-(total - parts.experts) // place.sharing) + experts


def _loading(model: PlannedModel, use: MemoryUse) -> tuple[int, int]:
    """What a CPU needs beside the weights while they load, and while they are laid out anew."""
    parts = model.parts
    merging = parts.apart if use.merges else 0
    late = model.quantization in use.quantizes_late
    if late:
        return merging, parts.whole - parts.total
    if not use.packs or model.dtype == "float16":
        return merging, 0
    # Our own forward pass lets go of each matrix as it is packed; another model is packed whole,
    # and tried, before what it was is let go.
    own = not (parts.experts or parts.sight or model.kept.state or model.kept.recurrent)
    return merging, parts.largest if own else parts.dense + parts.sight - parts.table


def _activations(model: PlannedModel, use: MemoryUse, place: Devices, demand: Demand) -> int:
    """Of the largest step: its tokens inside a layer, and logits of those that draw."""
    item = DTYPE_BYTES.get(model.dtype, 2)
    tokens, rows = use.steps[place.on_gpu], use.rows[place.on_gpu]
    working = 0 if place.on_gpu else use.working
    rows = min(rows, demand.streams or rows)
    inside = 6 * model.hidden + 3 * model.wide
    return working + tokens * inside * item + 3 * rows * model.shape.vocab * _FLOAT


def _adapters(model: PlannedModel, demand: Demand) -> int:
    """LoRA on all linear layers: two matrices of `rank` for each of seven."""
    item = DTYPE_BYTES.get(model.dtype, 2)
    layer = 4 * 2 * model.hidden + 3 * (model.hidden + model.shape.intermediate)
    return demand.adapters * demand.rank * layer * model.shape.layers * item


def _room(use: MemoryUse, place: Devices, demand: Demand) -> int:
    """What the engine may take of the smallest device."""
    if not place.on_gpu:
        return place.memory.free
    share = (demand.share or use.share) - use.kept_free
    return min(min(int(gpu.total * share), gpu.free) for gpu in place.gpus)


def _cache(place: Devices, demand: Demand, left: int) -> int:
    """Of `left` bytes: all on a GPU; on a CPU a part, more only where more is asked."""
    if place.on_gpu or left <= 0 or (demand.context and demand.streams):
        return left
    return min(cpu_cache(left), MOST_CPU_CACHE, left)


def _split(model: PlannedModel, count: int) -> int:
    """Among how many of `count` GPUs keys and values are divided: heads are, and where there are
    fewer of them they are copied; a latent vector is never divided.
    """
    return 1 if model.kept.latent else max(min(count, model.shape.kv_heads), 1)


def _streams(cache: int, sequence: int, use: MemoryUse, place: Devices, demand: Demand) -> int:
    """As many as the cache holds; no more than the engine takes at once where no number is said."""
    most = max(use.rows[place.on_gpu], demand.streams or 0)
    return min(cache // sequence, most) if sequence > 0 else most
