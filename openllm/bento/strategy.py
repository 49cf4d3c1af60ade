"""How many workers a Runner has and which GPUs each one sees: entries of CUDA_VISIBLE_DEVICES, never renumbered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bentoml.legacy

from openllm.bento.gpus import visible_devices

NVIDIA, AMD, CPU = "nvidia.com/gpu", "amd.com/gpu", "cpu"
# What the numeric libraries read for the size of their thread pools.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class LLMStrategy(bentoml.legacy.Strategy):  # type: ignore[misc]  # bentoml has no types
    """GPUs in groups, one worker for each; without any, one worker that uses every CPU.

    A group is as large as the model needs (`tensor_parallel_size` x `pipeline_parallel_size`), or
    1 / workers_per_resource GPUs where that is a fraction.
    """

    @classmethod
    def get_worker_count(
        cls, runnable_class: Any, resource_request: Mapping[str, Any] | None, workers_per_resource: float
    ) -> int:
        """Called by BentoML before it starts anything."""
        devices = requested_devices(resource_request)
        if not devices:
            return max(1, int(workers_per_resource))
        groups = len(devices) // _group(runnable_class, workers_per_resource)
        return max(1, groups * max(1, int(workers_per_resource)))

    @classmethod
    def get_worker_env(
        cls,
        runnable_class: Any,
        resource_request: Mapping[str, Any] | None,
        workers_per_resource: float,
        worker_index: int,
    ) -> dict[str, str]:
        """The variables of worker `worker_index` (from 0)."""
        devices = requested_devices(resource_request)
        if not devices:
            threads = str(max(1, math.ceil(_cpus(resource_request))))
            return {"CUDA_VISIBLE_DEVICES": "-1", **dict.fromkeys(THREAD_VARIABLES, threads)}
        size = _group(runnable_class, workers_per_resource)
        begin = worker_index // max(1, int(workers_per_resource)) * size
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices[begin : begin + size])}


def requested_devices(resource_request: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The devices that a runner may use: all visible ones, or of those as many (or the ones) that were asked for."""
    visible = visible_devices()
    wanted = (
        next((resource_request[kind] for kind in (NVIDIA, AMD) if kind in resource_request), "system")
        if (resource_request)
        else "system"
    )
    if wanted in ("system", None):
        return visible
    if isinstance(wanted, list | tuple):
        return tuple(visible[int(at)] for at in wanted if int(at) < len(visible))
    return visible[: int(wanted)]


def _group(runnable_class: Any, workers_per_resource: float) -> int:
    needed: int = runnable_class.GPUS
    return max(1, needed, round(1 / workers_per_resource) if 0 < workers_per_resource < 1 else 1)


def _cpus(resource_request: Mapping[str, Any] | None) -> float:
    from bentoml._internal.resource import get_resource, system_resources

    return get_resource(dict(resource_request or {}), CPU) or get_resource(system_resources(), CPU) or 1.0
