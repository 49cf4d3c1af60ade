"""Whether one sequence fits the memory, said before weights are loaded: how much is missing, and
what helps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.config.sizes import write_size
from openllm.errors import ConfigurationError
from openllm.hardware.gpus import Gpu
from openllm.hardware.shape import ModelShape


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
        more = f"--engine-arg num_gpu_blocks_override={-(-room.max_model_len // room.block) + 1}"
    elif room.cache_bytes is not None:
        have, more = (
            room.cache_bytes,
            f"--kv-cache-memory {write_size(need + room.block * per_token)}",
        )
        _refuse_more_than_there_is(have, devices)
    elif devices:
        have = int(min(device.total for device in devices) * room.share - weights)
        more = "more GPUs, --kv-cache-dtype fp8 or a higher --gpu-memory-utilization"
    else:
        return
    if need > have:
        fits = max(int(have / (per_token * kept)) // room.block * room.block, 0)
        shorter = f"--max-model-len {fits} or " if fits else ""
        raise ConfigurationError(
            f"One sequence of {room.max_model_len} tokens needs {write_size(need)} for its keys and"
            f" values, and there are {write_size(max(have, 0))}.",
            hint=f"Give {shorter}{more}.",
            param="max_model_len",
        )


def _refuse_more_than_there_is(cache: int, devices: tuple[Gpu, ...]) -> None:
    least = min((device.free for device in devices), default=cache)
    if cache > least:
        raise ConfigurationError(
            f"The KV cache would take {write_size(cache)}, and {write_size(least)} are free.",
            hint="Give a smaller --kv-cache-memory, or leave it out.",
            param="kv_cache_memory",
        )
