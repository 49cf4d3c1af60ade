"""The GPUs this process may use, how many of them an engine wants, and which each one gets.

NVIDIA's are read through the driver's library: no framework, no CUDA context. Devices are entries
of CUDA_VISIBLE_DEVICES (indices, UUIDs, MIG) as they are.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, option
from openllm.facts import facts_of

logger = logging.getLogger("openllm")


@attrs.frozen
class Gpu:
    """One visible GPU; `index` counts the visible ones, memory in bytes."""

    index: int
    name: str
    total: int
    free: int


def visible_gpus(mask: str | None) -> tuple[Gpu, ...]:
    """The GPUs behind `mask` (what CUDA_VISIBLE_DEVICES says; None: nothing, so all of them), in
    its order; empty where there is no driver.
    """
    nvml = _nvml()
    if nvml is None:
        return ()
    with _opened(nvml) as ready:
        if not ready:
            return ()
        return tuple(_read(nvml, at, handle) for at, handle in enumerate(_handles(nvml, mask)))


def visible_devices(mask: str | None) -> tuple[str, ...]:
    """The devices behind `mask`, as CUDA_VISIBLE_DEVICES would name each; None: all GPUs of the
    machine.

    Like CUDA, stop at the first entry that is negative or empty.
    """
    if mask is None:
        return tuple(str(gpu.index) for gpu in visible_gpus(None))
    found: list[str] = []
    for entry in (part.strip() for part in mask.split(",")):
        if not entry or entry.startswith("-"):
            break
        found.append(entry)
    return tuple(found)


def gpus_needed(spec: LLMSpec) -> int:
    """GPUs that one engine of `spec` cannot do without."""
    without = spec.backend is not None and not facts_of(spec.backend).uses_gpu
    if without or spec.device == "cpu":
        return 0
    sizes = (spec.tensor_parallel_size, spec.pipeline_parallel_size, spec.data_parallel_size)
    return math.prod(size or 1 for size in sizes)


def replica_gpus(specs: Sequence[LLMSpec]) -> int:
    """GPUs of one copy of a deployment: one set for each engine that wants them, or says how many
    share the model, and for each of its replicas.
    """
    return sum(
        gpus_needed(spec) * spec.replicas
        for spec in specs
        if spec.tensor_parallel_size or (spec.backend and facts_of(spec.backend).wants_gpu)
    )


def used_gpus(spec: LLMSpec, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Those of the visible `gpus` that an engine of `spec` would use: the named one, as many as its
    parallel sizes say, else all.
    """
    at = _numbered(spec)
    if at is not None:
        return tuple(gpus[at : at + 1])
    return tuple(gpus if spec.tensor_parallel_size is None else gpus[: gpus_needed(spec)])


def alike_gpus(gpus: Sequence[Gpu], *, asked: bool = False) -> tuple[tuple[Gpu, ...], str]:
    """Those of `gpus` that may hold one model together, and a sentence that says why where some are
    left out ("" where none is): of one kind, the kind with the most memory. Cards that differ wait
    for the slowest at each layer, and have room for what fits the smallest; so they are taken
    together only where that was `asked`.
    """
    kinds: dict[tuple[str, int], list[Gpu]] = {}
    for gpu in gpus:
        kinds.setdefault((gpu.name, gpu.total), []).append(gpu)
    if len(kinds) < 2 or asked:
        unlike = "the GPUs differ, and it was asked for. " if len(kinds) > 1 else ""
        return tuple(gpus), unlike
    chosen = max(kinds.values(), key=lambda some: sum(gpu.total for gpu in some))
    others = ", ".join(gpu.name for gpu in gpus if gpu not in chosen)
    return tuple(chosen), (
        f"they are alike, and have the most memory together; {others} would slow them down. "
    )


def _numbered(spec: LLMSpec) -> int | None:
    """The number of the one device that `spec` names; None: it names none."""
    at = (spec.device or "").partition(":")[2]
    return int(at) if at.isdigit() else None


def share_devices(specs: Sequence[LLMSpec], devices: Sequence[str]) -> tuple[str | None, ...]:
    """CUDA_VISIBLE_DEVICES for each engine, in the order of `specs`; None: as it is in this
    process.

    Where there are enough, nobody shares: an engine whose spec says how many it wants gets those,
    the others get equal parts of the rest. Where there are not, or a spec names its device itself,
    all see all of them.
    """
    needs = [gpus_needed(spec) for spec in specs]
    named = any(spec.device not in (None, "cpu", "cuda") for spec in specs)
    if named or not devices or len([need for need in needs if need]) < 2:
        return (None,) * len(specs)
    if sum(needs) > len(devices):
        logger.warning(
            "%d models share %d GPUs: give each a gpu_memory_utilization that leaves room.",
            len(specs),
            len(devices),
        )
        return (None,) * len(specs)
    open_ended = [
        at for at, spec in enumerate(specs) if needs[at] and spec.tensor_parallel_size is None
    ]
    spare = len(devices) - sum(needs)
    for at in open_ended:
        needs[at] += spare // len(open_ended)
    shares, begin = [], 0
    for need in needs:
        shares.append(",".join(devices[begin : begin + need]) if need else "-1")
        begin += need
    return tuple(shares)


def share_replicas(
    specs: Sequence[LLMSpec], devices: Sequence[str]
) -> tuple[tuple[str | None, ...], ...]:
    """CUDA_VISIBLE_DEVICES for each replica of each spec, as `share_devices` gives them to engines.

    Replicas of one GPU each that are more than the GPUs take these in turn, where all that one of
    them holds is said to fit. Errors: ConfigurationError where it is not, where replicas of
    several GPUs each are too many, or where a spec names one device for all its replicas.
    """
    for spec in specs:
        if spec.replicas > 1 and _numbered(spec) is not None:
            raise ConfigurationError(
                f"{spec.replicas} replicas cannot all have the device {spec.device}.",
                hint="Name no device: each replica gets its own of those that"
                " CUDA_VISIBLE_DEVICES lists.",
                param="device",
            )
    engines = [engine for spec in specs for engine in spec.engines()]
    needs = [gpus_needed(engine) for engine in engines]
    if len(engines) > len(specs) and devices and sum(needs) > len(devices):
        shares = _in_turn(engines, needs, devices)
    else:
        shares = share_devices(engines, devices)
    left = iter(shares)
    return tuple(tuple(next(left) for _ in range(spec.replicas)) for spec in specs)


def _in_turn(
    engines: Sequence[LLMSpec], needs: Sequence[int], devices: Sequence[str]
) -> tuple[str | None, ...]:
    """Errors: ConfigurationError."""
    turns, shares = itertools.cycle(devices), list[str | None]()
    held = dict.fromkeys(devices, 0.0)
    for engine, need in zip(engines, needs, strict=True):
        device = next(turns) if need else "-1"
        if need:
            reserves = engine.backend is not None and facts_of(engine.backend).wants_gpu
            held[device] += engine.gpu_memory_utilization or (1.0 if reserves else 0.0)
        shares.append(device)
    if max(needs) > 1 or max(held.values()) > 1:
        fits = f"{1 / -(-len(engines) // len(devices)) - 0.05:.2f}"
        alike = option("gpu_memory_utilization", fits)
        raise ConfigurationError(
            f"{len(engines)} replicas want {sum(needs)} GPUs, and there are {len(devices)}.",
            hint=f"Give fewer {option('replicas')}"
            + (f", or {alike} for those that share one." if max(needs) == 1 else "."),
            param="replicas",
        )
    return tuple(shares)


def _nvml() -> ModuleType | None:
    """NVML's Python binding: nvidia-ml-py, or the copy that vLLM carries, loaded without importing
    vLLM.
    """
    if importlib.util.find_spec("pynvml") is not None:
        return importlib.import_module("pynvml")
    vllm = importlib.util.find_spec("vllm")
    for folder in (vllm.submodule_search_locations or ()) if vllm else ():
        path = Path(folder, "third_party", "pynvml.py")
        spec = (
            importlib.util.spec_from_file_location("openllm_vendored_pynvml", path)
            if path.exists()
            else None
        )
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


@contextlib.contextmanager
def _opened(nvml: Any) -> Iterator[bool]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or one that does not answer
        yield False
        return
    try:
        yield True
    finally:
        nvml.nvmlShutdown()


def _handles(nvml: Any, mask: str | None) -> list[Any]:
    everything = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
    if mask is None:
        return everything
    handles = []
    for entry in (part.strip() for part in mask.split(",")):
        handle = _handle(nvml, everything, entry)
        if handle is None:  # CUDA stops at the first entry that names nothing
            break
        handles.append(handle)
    return handles


def _handle(nvml: Any, everything: list[Any], entry: str) -> Any:
    if entry.isdigit():
        return everything[int(entry)] if int(entry) < len(everything) else None
    if entry.startswith("MIG-"):
        with contextlib.suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(entry)
    if entry.startswith("GPU-"):  # an abbreviated UUID will do
        return next(
            (item for item in everything if _text(nvml.nvmlDeviceGetUUID(item)).startswith(entry)),
            None,
        )
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(nvml: Any, at: int, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(at, _text(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free))
