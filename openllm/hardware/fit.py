"""What fits the memory, said before weights are loaded: how much is missing, and what helps."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from openllm.config.sizes import readable_size, write_size
from openllm.errors import ConfigurationError, option
from openllm.hardware.cache import CacheLayout
from openllm.hardware.gpus import Gpu
from openllm.hardware.shape import ModelShape

LEAST_CACHE, MOST_CPU_CACHE = 64 * 2**20, 4 * 2**30  # bytes
CPU_SHARE = 4  # a CPU's cache takes at most a quarter of the free memory
CPU_SEQUENCES = 8  # of the longest length that a CPU's cache holds by default
RESERVED = 20  # a twentieth of a GPU is left to activations


@attrs.frozen
class Room:
    """What the engine was configured with."""

    max_model_len: int
    cache_dtype: str  # of keys and values
    cache_bytes: int | None  # what it was told to take; None: a share of the GPUs
    block: int  # tokens
    share: float
    tensor: int
    pipeline: int
    blocks: int | None = None  # that it was told to take, whatever else was said


def check_room(room: Room, shape: ModelShape, weights: int, devices: tuple[Gpu, ...]) -> None:
    """Errors: ConfigurationError when one sequence of max_model_len tokens cannot fit beside
    `weights` bytes, or the cache is larger than the smallest of `devices` (the GPUs, or the
    machine's memory as one)."""
    per_token = shape.kv_bytes_per_token(room.cache_dtype)
    if not per_token:
        return
    # of all that one device keeps
    kept = max(shape.kv_heads // room.tensor, 1) / shape.kv_heads / room.pipeline
    layout = CacheLayout(per_token * kept, room.block)
    if room.blocks is not None:
        have = layout.size(room.blocks * room.block)
        blocks = -(-room.max_model_len // room.block) + 1
        more = option("engine_args.num_gpu_blocks_override", blocks)
    elif room.cache_bytes is not None:
        have = room.cache_bytes
        need = layout.size(room.max_model_len) + room.block * per_token
        more = option("kv_cache_memory", write_size(need))
        _refuse_more_than_there_is(have, devices)
    elif devices:
        held = min(device.total for device in devices) * room.share
        have = int(held - weights / (room.tensor * room.pipeline))
        share, cache = option("gpu_memory_utilization"), option("kv_cache_dtype", "fp8")
        more = f"more GPUs, {cache} or a higher {share}"
    else:
        return
    require_sequence(room.max_model_len, layout, have, more)


def require_sequence(tokens: int, layout: CacheLayout, have: int, more: str) -> None:
    """Refuse a cache of `have` bytes that one sequence of `tokens` does not fit; `more` says what
    else would help. Errors: ConfigurationError.
    """
    if (need := layout.size(tokens)) <= have:
        return
    fits = layout.tokens(max(have, 0))
    shorter = f"{option('max_model_len', fits)} or " if fits else ""
    raise ConfigurationError(
        f"One sequence of {tokens} tokens needs {write_size(need)} for its keys and values, and"
        f" there are {write_size(max(have, 0))}.",
        hint=f"Give {shorter}{more}.",
        param="max_model_len",
    )


def _refuse_more_than_there_is(cache: int, devices: tuple[Gpu, ...]) -> None:
    least = min((device.free for device in devices), default=cache)
    if cache > least:
        raise ConfigurationError(
            f"The KV cache would take {write_size(cache)}, and {write_size(least)} are free.",
            hint=f"Give a smaller {option('kv_cache_memory')}, or leave it out.",
            param="kv_cache_memory",
        )


def why_crowded(
    gpus: Sequence[Gpu], share: float, weights: int, *, elsewhere: bool = False
) -> str | None:
    """Why an engine that reserves `share` of each of `gpus` has no room there, with the remedy;
    None when it has.

    With `elsewhere` other machines hold a part of the weights.
    """
    held = sum(gpu.total for gpu in gpus) * share
    if weights > held and not elsewhere:
        return (
            f"The weights take {readable_size(weights)}, and the engine may use"
            f" {readable_size(held)} of {len(gpus)} GPU(s). Take more GPUs, a smaller model or"
            f" {option('quantization')}."
        )
    worst = min(gpus, key=lambda gpu: gpu.free / max(gpu.total, 1))
    if worst.free >= worst.total * share:
        return None
    fits = max(int(100 * worst.free / max(worst.total, 1)) / 100 - 0.02, 0.05)
    return (
        f"GPU {worst.index} has {readable_size(worst.free)} of {readable_size(worst.total)} free,"
        f" and the engine wants {readable_size(worst.total * share)}. Free it, give"
        f" {option('gpu_memory_utilization', f'{fits:.2f}')}."
    )


def gpu_cache(free: int, total: int, share: float) -> int:
    """Bytes for the cache on a GPU whose weights are loaded: what is left of the share that the
    engine may take.
    """
    return max(0, int(total * share) - (total - free) - total // RESERVED)


def cpu_cache(free: int) -> int:
    """Bytes that a cache may take of `free` memory."""
    return max(free // CPU_SHARE, LEAST_CACHE)


@attrs.frozen
class CachePlan:
    """A CPU's cache: the longest sequence it is for, in tokens, and its bytes."""

    longest: int
    size: int


def plan_cpu_cache(layout: CacheLayout, longest: int, free: int, *, fixed: bool) -> CachePlan:
    """A cache for some sequences of `longest` tokens within the free memory, for one at least;
    where even that is too much the longest is cut to what fits, unless it is `fixed`.
    """
    room = cpu_cache(free)
    if not fixed and layout.size(longest) > room:
        longest = max(layout.tokens(room), layout.block)
    wanted = max(layout.size(CPU_SEQUENCES * longest), LEAST_CACHE)
    return CachePlan(longest, max(min(wanted, room), layout.size(longest)))
