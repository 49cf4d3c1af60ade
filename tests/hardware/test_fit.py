"""Whether one sequence fits the memory, before weights are loaded."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from openllm.errors import ConfigurationError
from openllm.hardware.fit import Room, check_room, plain_attention
from openllm.hardware.gpus import Gpu
from openllm.hardware.shape import ModelShape

SHAPE = ModelShape(layers=16, heads=32, kv_heads=8, head_dim=64)  # 32 KiB per token in 16 bits
ROOM = Room(
    max_model_len=4096,
    cache_dtype="bfloat16",
    cache_bytes=None,
    block=16,
    share=0.9,
    tensor=1,
    pipeline=1,
)
NEED = 4096 * 32 * 1024  # 128 MiB
GIB = 2**30


def gpu(total: int) -> Gpu:
    return Gpu(0, "a GPU", total, total)


def test_a_cache_that_was_given_must_hold_one_sequence(tmp_path: Path) -> None:
    check_room(attrs.evolve(ROOM, cache_bytes=NEED), SHAPE, tmp_path, ())
    with pytest.raises(ConfigurationError) as caught:
        check_room(attrs.evolve(ROOM, cache_bytes=NEED // 2), SHAPE, tmp_path, ())
    text = str(caught.value)
    for word in (
        "4096 tokens",
        "128MiB",
        "64MiB",
        "max_model_len=2048",
        "kv_cache_memory=129MiB",
    ):
        assert word in text
    assert "\n" not in text


def test_with_a_share_of_the_gpu_the_weights_count(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(GIB)
    check_room(ROOM, SHAPE, tmp_path, (gpu(2 * GIB),))
    with pytest.raises(ConfigurationError, match="higher gpu_memory_utilization"):
        check_room(ROOM, SHAPE, tmp_path, (gpu(int(1.2 * GIB)),))
    two = attrs.evolve(ROOM, tensor=2)
    check_room(two, SHAPE, tmp_path, (gpu(int(1.2 * GIB)), gpu(int(1.2 * GIB))))
    with pytest.raises(ConfigurationError, match=r"0KiB\. Give more GPUs"):
        check_room(ROOM, SHAPE, tmp_path, (gpu(GIB),))


def test_what_is_not_known_is_left_to_vllm(tmp_path: Path) -> None:
    check_room(attrs.evolve(ROOM, cache_bytes=1), ModelShape(), tmp_path, ())
    check_room(ROOM, SHAPE, tmp_path, ())


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        ({}, True),
        ({"sliding_window": None}, True),
        ({"layer_types": ["full_attention"]}, True),
        ({"sliding_window": 512}, False),
        ({"kv_lora_rank": 512}, False),
        ({"state_size": 16}, False),
        ({"text_config": {"layer_types": ["full_attention", "sliding_attention"]}}, False),
    ],
)
def test_only_plain_attention_is_counted(config: dict[str, object], plain: bool) -> None:
    assert plain_attention(config) is plain
