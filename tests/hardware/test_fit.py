"""Whether one sequence fits the memory, before weights are loaded."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from openllm.errors import ConfigurationError
from openllm.hardware.cache import CacheLayout
from openllm.hardware.fit import (
    CPU_SEQUENCES,
    LEAST_CACHE,
    Room,
    check_room,
    cpu_cache,
    gpu_cache,
    plan_cpu_cache,
    require_sequence,
    why_crowded,
)
from openllm.hardware.gpus import Gpu
from openllm.hardware.shape import ModelShape, plain_attention
from openllm.weights.checkpoint import weights_size

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
    check_room(attrs.evolve(ROOM, cache_bytes=NEED), SHAPE, weights_size(tmp_path), ())
    with pytest.raises(ConfigurationError) as caught:
        check_room(attrs.evolve(ROOM, cache_bytes=NEED // 2), SHAPE, weights_size(tmp_path), ())
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
    check_room(ROOM, SHAPE, weights_size(tmp_path), (gpu(2 * GIB),))
    with pytest.raises(ConfigurationError, match="higher gpu_memory_utilization"):
        check_room(ROOM, SHAPE, weights_size(tmp_path), (gpu(int(1.2 * GIB)),))
    two = attrs.evolve(ROOM, tensor=2)
    check_room(two, SHAPE, weights_size(tmp_path), (gpu(int(1.2 * GIB)), gpu(int(1.2 * GIB))))
    with pytest.raises(ConfigurationError, match=r"0KiB\. Give more GPUs"):
        check_room(ROOM, SHAPE, weights_size(tmp_path), (gpu(GIB),))


def test_what_is_not_known_is_left_to_vllm(tmp_path: Path) -> None:
    check_room(attrs.evolve(ROOM, cache_bytes=1), ModelShape(), weights_size(tmp_path), ())
    check_room(ROOM, SHAPE, weights_size(tmp_path), ())


@pytest.mark.parametrize(("tokens", "block", "spare"), [(1, 8, 1), (4096, 128, 2), (100, 16, 0)])
def test_what_is_sized_for_some_tokens_holds_them(tokens: int, block: int, spare: int) -> None:
    layout = CacheLayout(12.5, block, spare)
    assert tokens <= layout.tokens(layout.size(tokens)) < tokens + block
    assert layout.tokens(layout.size(0)) == layout.tokens(0) == 0


def test_every_engine_says_the_same_of_a_sequence_that_does_not_fit() -> None:
    require_sequence(64, CacheLayout(1024, 8, 1), 72 * 1024, "more memory")
    with pytest.raises(ConfigurationError) as caught:
        require_sequence(65, CacheLayout(1024, 8, 1), 72 * 1024, "more memory")
    assert str(caught.value) == (
        "One sequence of 65 tokens needs 80KiB for its keys and values, and there are 72KiB."
        " Give max_model_len=64 or more memory."
    )
    with pytest.raises(ConfigurationError, match=r"Give more memory\.$"):
        require_sequence(65, CacheLayout(1024, 8, 1), 8 * 1024, "more memory")


def test_a_share_of_the_gpu_less_what_is_taken_of_it() -> None:
    assert gpu_cache(free=60, total=100, share=0.9) == 90 - 40 - 5
    assert gpu_cache(free=10, total=100, share=0.5) == 0


def test_a_cpus_cache_is_a_part_of_the_free_memory() -> None:
    assert cpu_cache(8 * GIB) == 2 * GIB
    assert cpu_cache(0) == LEAST_CACHE
    layout = CacheLayout(2**20, 128, 2)
    for fixed in (True, False):
        roomy = plan_cpu_cache(layout, 1024, 1024 * GIB, fixed=fixed)
        assert (roomy.longest, roomy.size) == (1024, layout.size(CPU_SEQUENCES * 1024))
    short = plan_cpu_cache(layout, 65536, 8 * GIB, fixed=False)
    assert (short.longest, short.size) == (14 * 128, 2 * GIB)
    asked = plan_cpu_cache(layout, 65536, 8 * GIB, fixed=True)
    assert (asked.longest, asked.size) == (65536, layout.size(65536))  # the room's check tells


def test_gpus_are_crowded_by_weights_or_by_others() -> None:
    free, busy = gpu(10 * GIB), Gpu(1, "a GPU", 10 * GIB, 2 * GIB)
    assert why_crowded([free, free], 0.9, 17 * GIB) is None
    reason = why_crowded([free, free], 0.9, 19 * GIB)
    assert reason is not None
    assert "take 19.0 GiB, and the engine may use 18.0 GiB of 2 GPU(s)" in reason
    assert why_crowded([free, free], 0.9, 19 * GIB, elsewhere=True) is None
    reason = why_crowded([free, busy], 0.9, GIB)
    assert reason is not None
    assert "GPU 1 has 2.0 GiB of 10.0 GiB free, and the engine wants 9.0 GiB" in reason
    assert "0.18" in reason


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
