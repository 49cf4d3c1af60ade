"""Which GPUs each engine of a composition gets: entries of CUDA_VISIBLE_DEVICES (indices, UUIDs,
MIG) as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.facts import facts_of
from openllm.hardware.gpus import visible_gpus

logger = logging.getLogger("openllm")


def visible_devices(mask: str | None = None) -> tuple[str, ...]:
    """The devices this process may use, as CUDA_VISIBLE_DEVICES would name them; `mask` stands for
    that variable.

    Like CUDA, stop at the first entry that is negative or empty. Without the variable: all GPUs of
    the machine.
    """
    mask = Settings.from_env().visible_devices if mask is None else mask
    if mask is None:
        return tuple(str(gpu.index) for gpu in visible_gpus())
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
    return (spec.tensor_parallel_size or 1) * (spec.pipeline_parallel_size or 1)


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
