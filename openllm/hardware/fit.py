"""Whether one sequence fits the memory, said before weights are loaded: how much is missing, and
what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.errors import ConfigurationError, option
from openllm.hardware.gpus import Gpu
from openllm.hardware.shape import ModelShape

_UNITS = (
    (2**10, "KiB", 2**23),
    (2**20, "MiB", 2**33),
    (2**30, "GiB", float("inf")),
)  # each up to 8 of the next


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


def plain_attention(config: Mapping[str, Any]) -> bool:
    """Whether every layer keeps keys and values of the whole sequence; else the sizes below say too
    much.
    """
    text = config.get("text_config")
    fields = {**config, **text} if isinstance(text, Mapping) else config
    if fields.get("kv_lora_rank") or fields.get("sliding_window") or fields.get("state_size"):
        return False
    layers = fields.get("layer_types")
    return not layers or set(layers) == {"full_attention"}


def check_room(room: Room, shape: ModelShape, weights_dir: Path, devices: tuple[Gpu, ...]) -> None:
    """Errors: ConfigurationError when one sequence of max_model_len tokens cannot fit, or the cache
    is larger than the smallest of `devices` (the GPUs, or the machine's memory as one)."""
    per_token = shape.kv_bytes_per_token(room.cache_dtype)
    if not per_token:
        return
    kept = (
        max(shape.kv_heads // room.tensor, 1) / shape.kv_heads / room.pipeline
    )  # of all that one device keeps
    need = int(-(-room.max_model_len // room.block) * room.block * per_token * kept)
    weights = sum(path.stat().st_size for path in weights_dir.glob("*.safetensors")) / (
        room.tensor * room.pipeline
    )
    if room.blocks is not None:
        have = int(room.blocks * room.block * per_token * kept)
        blocks = -(-room.max_model_len // room.block) + 1
        more = option("engine_args.num_gpu_blocks_override", blocks)
    elif room.cache_bytes is not None:
        have = room.cache_bytes
        more = option("kv_cache_memory", _size(need + room.block * per_token))
        _refuse_more_than_there_is(have, devices)
    elif devices:
        have = int(min(device.total for device in devices) * room.share - weights)
        share, cache = option("gpu_memory_utilization"), option("kv_cache_dtype", "fp8")
        more = f"more GPUs, {cache} or a higher {share}"
    else:
        return
    if need > have:
        fits = max(int(have / (per_token * kept)) // room.block * room.block, 0)
        shorter = f"{option('max_model_len', fits)} or " if fits else ""
        raise ConfigurationError(
            f"One sequence of {room.max_model_len} tokens needs {_size(need)} for its keys and"
            f" values, and there are {_size(max(have, 0))}.",
            hint=f"Give {shorter}{more}.",
            param="max_model_len",
        )


def _refuse_more_than_there_is(cache: int, devices: tuple[Gpu, ...]) -> None:
    least = min((device.free for device in devices), default=cache)
    if cache > least:
        raise ConfigurationError(
            f"The KV cache would take {_size(cache)}, and {_size(least)} are free.",
            hint=f"Give a smaller {option('kv_cache_memory')}, or leave it out.",
            param="kv_cache_memory",
        )


def _size(amount: int) -> str:
    """Rounded up, in the unit that kv_cache_memory is read in."""
    unit, name = next((unit, name) for unit, name, most in _UNITS if amount < most)
    return f"{-(-amount // unit)}{name}"
