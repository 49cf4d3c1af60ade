"""Plans of deployments: which engine, on what, whether it fits, and what would help, told before a
byte of the weights is fetched or loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm.backends.select import find_backend, ranked_backends, select_backend, unfit
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency, UnsupportedCombination
from openllm.facts import Facts, MemoryUse, all_facts, facts_of
from openllm.hardware.devices import kind_of
from openllm.hardware.gpus import Gpu, alike_gpus, used_gpus, visible_gpus
from openllm.hardware.kinds import find_gpu, known_gpu
from openllm.hardware.memory import (
    UNKNOWN_MEMORY,
    MachineMemory,
    fast_in_bf16,
    machine_memory,
)
from openllm.hardware.parallel import plan_parallel
from openllm.hardware.parameters import (
    QUANTIZED,
    guessed_parts,
    is_packed,
    key_value_widths,
    loaded_parts,
    stored_dtype,
)
from openllm.hardware.plan import (
    USUAL_CONTEXT,
    Demand,
    Devices,
    MemoryPlan,
    PlannedModel,
    plan_memory,
)
from openllm.hardware.sequence import Kept, kept_by
from openllm.hardware.shape import longest_context, model_shape
from openllm.weights.hub import Token
from openllm.weights.outline import Outline, outline, outline_of

_HALF = ("bfloat16", "float16", "half")
_OTHER_RANK = 16  # of an adapter that says none


@attrs.frozen
class GpuTarget:
    """GPUs of a machine that is not here."""

    gpu: str  # as people write it
    count: int = 1


@attrs.frozen
class Plan:
    """What a deployment comes to. `spec` has the backend, and what else must be said for it to run
    as planned; `helps` are changes that would make it fit, each a spec.
    """

    spec: LLMSpec
    model: PlannedModel
    memory: MemoryPlan
    reason: str  # which backend, and why
    devices: str  # which GPUs are used, and why
    outline: Outline
    helps: tuple[tuple[str, LLMSpec], ...] = ()  # (a field of the spec, the spec with it)

    @property
    def dtype(self) -> str:
        """The format of activations and of weights that are not quantized."""
        return self.model.dtype

    @property
    def fits(self) -> bool:
        return self.memory.fits

    @property
    def unsure(self) -> str:
        """Why nobody can tell from here whether it fits; "" where the plan counts all of it."""
        if self.spec.engine_args:
            names = ", ".join(sorted(self.spec.engine_args))
            return f"the engine's own options ({names}) are not counted."
        name = self.spec.quantization
        packed = is_packed(self.outline.config)
        if name is not None and not packed and name not in QUANTIZED:
            return f"how small {name} makes weights is not known: they count as {self.dtype}."
        return ""

    @property
    def why_not(self) -> str:
        """Why it does not fit, in numbers."""
        memory = self.memory
        if memory.needed <= memory.room and memory.most_context:
            return (
                f"there are {readable_size(max(memory.cache, 0))} for keys and values, and"
                f" {memory.streams} of {memory.context} tokens take"
                f" {readable_size(memory.sequence * memory.streams)}."
            )
        where = f"of {_names(memory.place.gpus)}" if memory.place.on_gpu else "of memory"
        each = " on each GPU" if len(memory.place.gpus) > 1 else ""
        return (
            f"{self.spec.model_id} needs {readable_size(memory.needed)}{each}"
            f" ({readable_size(memory.weights)} of weights in"
            f" {self.spec.quantization or self.dtype}), and"
            f" {readable_size(memory.room)} {where} are there."
        )

    @property
    def started(self) -> LLMSpec:
        """The spec with what an engine would otherwise decide against the plan."""
        memory, spec = self.memory, self.spec
        if spec.task != "generate" or self.unsure:
            return spec
        if spec.max_model_len is None and memory.context < self.model.longest:
            spec = attrs.evolve(spec, max_model_len=memory.context)
        usual = plan_memory(self.model, _memory_use(spec), memory.place, Demand()).cache
        asked = memory.sequence * memory.streams
        if not memory.place.on_gpu and spec.kv_cache_memory is None and asked > usual:
            spec = attrs.evolve(spec, kv_cache_memory=asked + memory.sequence)
        return spec


def plan(
    spec: LLMSpec, settings: Settings, target: GpuTarget | None = None, token: Token = None
) -> Plan:
    """Plan `spec` for this machine, or for `target`. Reads a few KB of a Hub id, no weights.

    Errors: WeightsError for a model that is not there; ConfigurationError for an engine that cannot
    be planned for, or a GPU that nobody knows.
    """
    return plan_outline(spec, outline(spec, settings.bentoml_home, token), settings, target)


def plan_directory(spec: LLMSpec, directory: Path, settings: Settings) -> Plan:
    """Plan `spec` for this machine with the weights in `directory`. Errors: those of `plan`."""
    return plan_outline(spec, outline_of(directory), settings)


def plan_outline(
    spec: LLMSpec, found: Outline, settings: Settings, target: GpuTarget | None = None
) -> Plan:
    """Plan for a model whose outline is known. Errors: ConfigurationError."""
    facts, reason = _engine(spec, settings, target)
    spec = attrs.evolve(spec, backend=facts.name)
    place, devices = _place(spec, found, settings, target)
    made = Plan(spec, *_sum(spec, found, place), reason, devices, found)
    return made if made.fits or made.unsure else attrs.evolve(made, helps=_helps(made))


def plan_at(spec: LLMSpec, found: Outline, machine: Devices, draft: int = 0) -> Plan:
    """Plan `spec`, which names its backend, for a machine that is only described: on the GPUs of
    `machine`, where that backend uses any. `draft` are the bytes of a draft model's weights.
    Errors: ConfigurationError where it asks for more GPUs than there are.
    """
    if not facts_of(spec.backend or "").uses_gpu or kind_of(spec.device or "") == "cpu":
        machine = attrs.evolve(machine, gpus=())
    place, devices = _chosen(spec, found, machine)
    reason = f"Backend {spec.backend}: it is what is deployed."
    made = Plan(spec, *_sum(spec, found, place, draft), reason, devices, found)
    return made if made.fits or made.unsure else attrs.evolve(made, helps=_helps(made, draft))


def with_usual_context(spec: LLMSpec, config: Mapping[str, Any]) -> LLMSpec:
    """`spec` with the context that a deployment must at least have room for, where it says none: an
    engine would take whatever is left, a few tokens too.
    """
    if spec.max_model_len is not None or spec.task != "generate":
        return spec
    longest = longest_context(config) or USUAL_CONTEXT
    return attrs.evolve(spec, max_model_len=min(longest, USUAL_CONTEXT))


def room_here(settings: Settings) -> int:
    """Bytes that weights could take here at most: of all visible GPUs, or of memory."""
    return max(sum(gpu.total for gpu in visible_gpus(settings.visible_devices)), _machine().free)


def _engine(spec: LLMSpec, settings: Settings, target: GpuTarget | None) -> tuple[Facts, str]:
    """The engine that would be taken, and why."""
    if target is None:
        try:
            backend, why = select_backend(spec, settings)
        except (MissingDependency, ConfigurationError, UnsupportedCombination) as error:
            if spec.backend is None:
                raise
            return facts_of(spec.backend), f"Backend {spec.backend}, but not here: {error.text}"
        return backend.facts, why
    if spec.backend is not None:
        return facts_of(spec.backend), f"Backend {spec.backend}: it was asked for."
    ranked = ranked_backends(spec)
    able = [
        facts
        for facts in map(facts_of, ranked)
        if unfit(spec, facts.name) is None
        and (spec.quantization is None or _can_quantize(facts, spec.quantization))
    ]
    if not able:
        raise ConfigurationError(
            f"None of {', '.join(ranked)} can serve this.", hint="Leave an option out."
        )
    order = ", ".join(ranked)
    return able[0], f"Backend {able[0].name}: the first of {order} that can serve this on a GPU."


def _can_quantize(facts: Facts, name: str) -> bool:
    if facts.quantizations is not None:
        return name in facts.quantizations
    # it tells when it starts: what another engine lists is that one's own
    return not any(name in (other.quantizations or ()) for other in all_facts())


def _memory_use(spec: LLMSpec) -> MemoryUse:
    """What the engine of `spec`, which names one, takes."""
    return facts_of(spec.backend or "").memory or MemoryUse()


def _sum(
    spec: LLMSpec, found: Outline, place: Devices, draft: int = 0
) -> tuple[PlannedModel, MemoryPlan]:
    """The model as `spec` would load it there, and what that comes to."""
    use = _memory_use(spec)
    dtype = _dtype(spec, found.config, place, use)
    parts = (
        loaded_parts(found.tensors, found.config, dtype, spec.quantization)
        if found.tensors
        else guessed_parts(found.size, found.config, dtype, spec.quantization)
    )
    kept = Kept()
    if spec.task == "generate":
        kept = kept_by(found.config, key_value_widths(found.tensors))
    cache = "fp8" if (spec.kv_cache_dtype or "").startswith("fp8") else dtype
    model = PlannedModel.of(found.config, kept, parts, (dtype, cache), spec.quantization)
    return model, plan_memory(model, use, place, _demand(spec, draft))


def _machine() -> MachineMemory:
    return machine_memory() or MachineMemory(UNKNOWN_MEMORY, UNKNOWN_MEMORY)


def _demand(spec: LLMSpec, draft: int) -> Demand:
    adapters = spec.max_adapters or len(spec.adapters)
    return Demand(
        context=spec.max_model_len,
        streams=spec.max_num_seqs,
        cache=spec.kv_cache_memory,
        share=spec.gpu_memory_utilization,
        adapters=adapters,
        rank=spec.max_lora_rank or _OTHER_RANK,
        eager=spec.enforce_eager is True,
        draft=draft,
    )


def _place(
    spec: LLMSpec, found: Outline, settings: Settings, target: GpuTarget | None
) -> tuple[Devices, str]:
    """What one engine would run on, and why on these. Errors: ConfigurationError."""
    machine = Devices(_machine(), bf16=fast_in_bf16())
    facts = facts_of(spec.backend or "")
    if target is not None:
        there = find_gpu(target.gpu).gpus(target.count)
    elif not facts.uses_gpu or kind_of(spec.device or "") == "cpu":
        return machine, "The processor: no GPU is asked for."
    elif find_backend(facts.name).cpu_build() is not None:
        return machine, "The processor: the engine that is installed is built for it."
    else:
        there = visible_gpus(settings.visible_devices)
    return _chosen(spec, found, attrs.evolve(machine, gpus=there))


def _chosen(spec: LLMSpec, found: Outline, machine: Devices) -> tuple[Devices, str]:
    """What of `machine` one engine would run on, and why on these. Errors: ConfigurationError."""
    there = machine.gpus
    if not there:
        return machine, "The processor: no GPU is visible."
    chosen, why = alike_gpus(used_gpus(spec, there), asked=spec.tensor_parallel_size is not None)
    if not _memory_use(spec).parallel:
        one = attrs.evolve(machine, gpus=tuple(chosen[:1]))
        return one, f"{_names(one.gpus)}: the {spec.backend} backend runs on one."
    parallel = plan_parallel(
        model_shape(found.config),
        len(chosen),
        spec.tensor_parallel_size,
        spec.pipeline_parallel_size,
        data=spec.data_parallel_size,
        experts=spec.enable_expert_parallel is True,
    )
    count = parallel.tensor * parallel.pipeline * parallel.data
    if count > len(chosen):
        raise ConfigurationError(
            f"{count} GPUs are asked for, and there are {len(chosen)}.",
            hint="Ask for fewer, or plan for more.",
            param="tensor_parallel_size",
        )
    several = attrs.evolve(machine, gpus=tuple(chosen[:count]), copies=parallel.data)
    return several, f"{_names(several.gpus)}: {why}{parallel.line}"


def _names(gpus: Sequence[Gpu]) -> str:
    kinds = dict.fromkeys(gpu.name for gpu in gpus)
    counts = [(sum(gpu.name == kind for gpu in gpus), kind) for kind in kinds]
    return ", ".join(f"{count} x {kind}" for count, kind in counts)


def _dtype(spec: LLMSpec, config: Mapping[str, Any], place: Devices, use: MemoryUse) -> str:
    """The format of activations and of weights that are not quantized."""
    if spec.dtype != "auto":
        return {"half": "float16", "float": "float32"}.get(spec.dtype, spec.dtype)
    stored = stored_dtype(config)
    if not place.on_gpu:
        keeps = use.bf16_on_cpu and stored == "bfloat16" and place.bf16
        return "bfloat16" if keeps else "float32"
    kind = known_gpu(place.gpus[0].name)
    if kind is not None and not kind.bf16:
        return "float16"
    return stored if stored in _HALF else "bfloat16"


def _helps(made: Plan, draft: int = 0) -> tuple[tuple[str, LLMSpec], ...]:
    """Changes of the spec under which it fits where it is, what loses least first."""
    found = []
    for name, changes in _changes(made):
        try:
            spec = attrs.evolve(made.spec, **changes)
        except (ConfigurationError, UnsupportedCombination):
            continue
        _, memory = _sum(spec, made.outline, made.memory.place, draft)
        if memory.fits:
            found.append((name, spec))
    return tuple(found)


def _changes(made: Plan) -> list[tuple[str, dict[str, Any]]]:
    spec, memory = made.spec, made.memory
    changes: list[tuple[str, dict[str, Any]]] = []
    if 0 < memory.most_context < memory.context:
        changes.append(("max_model_len", {"max_model_len": memory.most_context}))
    if 0 < memory.most_streams < memory.streams:
        changes.append(("max_num_seqs", {"max_num_seqs": memory.most_streams}))
    if not memory.place.on_gpu and made.dtype == "float32":
        changes.append(("dtype", {"dtype": "bfloat16"}))
    if spec.quantization is None and not is_packed(made.outline.config):
        names = quantizations(_memory_use(spec), memory.place)
        changes += [("quantization", {"quantization": name}) for name in names]
    return changes


def quantizations(use: MemoryUse, place: Devices) -> tuple[str, ...]:
    """What weights can become while they load, there, the most exact first."""
    if not place.on_gpu:
        return use.quantizes_late
    kind = known_gpu(place.gpus[0].name)
    return tuple(name for name in use.shrinks if name != "fp8" or (kind and kind.fp8))
