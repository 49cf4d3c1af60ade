"""The environment variables that vLLM reads, set before it is imported; what the user has set
stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from openllm.config.settings import process_environment

ALWAYS: Mapping[str, str] = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",  # its warnings are about choices that are made here
    # the engine is a process of its own; a fork of a process that has threads can hang
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
ON_CPU: Mapping[str, str] = {
    "VLLM_HOST_IP": "127.0.0.1",  # the workers' sockets listen on the loopback device only
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # engine and worker in one process
    "TORCHDYNAMO_DISABLE": "1",  # eager mode needs no compiler
}


def prepare_environment(platform: str, device: str | None, visible: str | None) -> None:
    """Set the variables for an engine on `platform`; `device` "cuda:1" leaves it the second of the
    `visible` GPUs.
    """
    for name, value in {**ALWAYS, **(ON_CPU if platform == "cpu" else {})}.items():
        os.environ.setdefault(name, value)
    if (mask := gpu_mask(device, visible)) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = mask


def gpu_mask(device: str | None, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES for one GPU of those that are `visible` (its value now); None when
    `device` names none.
    """
    kind, _, at = (device or "").partition(":")
    if kind != "cuda" or not at.isdigit():
        return None
    listed = visible.split(",") if visible else []
    return listed[int(at)] if int(at) < len(listed) else at


def longer_contexts_allowed() -> bool:
    """Whether the user lets vLLM go beyond what config.json says; read as vLLM reads it."""
    said = process_environment().get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0")
    return said.strip().lower() in ("1", "true")


def take_whole_steps() -> None:
    """For the engines of this process that are started from now on.

    By vLLM's default AsyncLLM lets its readers run after 128 of a step's outputs; a front that
    falls behind a larger batch then takes one step per round, however many wait. Taken whole, a
    late reader's tokens are joined.
    """
    os.environ.setdefault("VLLM_V1_OUTPUT_PROC_CHUNK_SIZE", "1000000")
