"""How many workers a Runner has and which GPUs each one sees: entries of CUDA_VISIBLE_DEVICES,
never renumbered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bentoml.legacy

from openllm.bento.runner.runnable import AMD, CPU, NVIDIA, LLMRunnable
from openllm.config.settings import Settings
from openllm.errors import ConfigurationError
from openllm.hardware.gpus import visible_devices

# What the numeric libraries read for the size of their thread pools.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
GPUS_HINT = "Give their number, or their places (from 0) in CUDA_VISIBLE_DEVICES as a list."


class LLMStrategy(bentoml.legacy.Strategy):  # type: ignore[misc]  # bentoml has no types
    """GPUs in groups, one worker for each; without any, one worker that uses every CPU.

    A group is as large as the model needs (`tensor_parallel_size` x `pipeline_parallel_size`), or
    1 / workers_per_resource GPUs where that is a fraction.
    """

    @classmethod
    def get_worker_count(
        cls,
        runnable_class: type[LLMRunnable],
        resource_request: Mapping[str, Any] | None,
        workers_per_resource: float,
    ) -> int:
        """Called by BentoML before it starts anything. Errors: ConfigurationError where GPUs are
        missing.
        """
        devices = requested_devices(runnable_class.source.settings, resource_request)
        if not devices:
            return max(1, int(workers_per_resource))
        if len(devices) < runnable_class.GPUS:
            raise ConfigurationError(
                f"The model needs {runnable_class.GPUS} GPUs and the runner has {len(devices)}.",
                hint="Lower tensor_parallel_size, or let it see more in CUDA_VISIBLE_DEVICES.",
            )
        groups = len(devices) // _group(runnable_class, workers_per_resource)
        return max(1, groups * max(1, int(workers_per_resource)))

    @classmethod
    def get_worker_env(
        cls,
        runnable_class: type[LLMRunnable],
        resource_request: Mapping[str, Any] | None,
        workers_per_resource: float,
        worker_index: int,
    ) -> dict[str, str]:
        """The variables of worker `worker_index` (from 0)."""
        devices = requested_devices(runnable_class.source.settings, resource_request)
        if not devices:
            from bentoml._internal.resource import get_resource, system_resources

            asked = get_resource(dict(resource_request or {}), CPU)
            cpus = asked or get_resource(system_resources(), CPU) or 1.0
            threads = str(max(1, math.ceil(cpus)))
            return {"CUDA_VISIBLE_DEVICES": "-1", **dict.fromkeys(THREAD_VARIABLES, threads)}
        size = _group(runnable_class, workers_per_resource)
        begin = worker_index // max(1, int(workers_per_resource)) * size
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices[begin : begin + size])}


def requested_devices(
    settings: Settings, resource_request: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """The devices that a runner may use: all visible ones, or of those as many (or the ones) that
    were asked for.

    Errors: ConfigurationError for GPUs that are not there.
    """
    visible, request = visible_devices(settings.visible_devices), resource_request or {}
    wanted = next((request[kind] for kind in (NVIDIA, AMD) if kind in request), None)
    if wanted in ("system", None):
        return visible
    try:
        if isinstance(wanted, list | tuple):
            places = [int(at) for at in wanted]
        else:
            places = list(range(_count(wanted)))
    except (TypeError, ValueError):
        raise ConfigurationError(f"A runner's GPUs cannot be {wanted!r}.", hint=GPUS_HINT) from None
    if gone := [at for at in places if not 0 <= at < len(visible)]:
        raise ConfigurationError(
            f"A runner is to have GPU {gone[0]} of those visible, and there are {len(visible)}.",
            hint=GPUS_HINT,
        )
    return tuple(visible[at] for at in places)


def _count(wanted: Any) -> int:
    """Errors: ValueError, TypeError."""
    number = int(wanted)
    if number < 0:
        raise ValueError
    return number


def _group(runnable_class: type[LLMRunnable], workers_per_resource: float) -> int:
    """How many GPUs go to one worker."""
    shared = round(1 / workers_per_resource) if 0 < workers_per_resource < 1 else 1
    return max(1, runnable_class.GPUS, shared)
