"""What one replica takes: the same sum for a cloud's machines and for Kubernetes."""

from __future__ import annotations

from openllm.config.spec import LLMSpec
from openllm.hardware.footprint import Footprint

GIB = 2**30
VLLM = LLMSpec(model_id="./m", backend="vllm")


def test_weights_cache_and_what_the_engine_takes_itself() -> None:
    on_gpu = Footprint.of([VLLM], 10 * GIB)
    assert (on_gpu.gpus, on_gpu.cache, on_gpu.memory) == (1, 2 * GIB, 14 * GIB)
    assert on_gpu.host_memory == 12 * GIB  # its weights pass through
    alone = Footprint.of([LLMSpec(model_id="./m", kv_cache_memory=4 * GIB)], 10 * GIB)
    assert (alone.gpus, alone.memory) == (0, 17 * GIB)
    assert alone.host_memory == alone.memory


def test_what_was_said_of_the_gpus_wins_and_unknown_weights_count_nothing() -> None:
    assert Footprint.of([VLLM, VLLM], None).gpus == 2
    said = Footprint.of([VLLM, VLLM], None, gpus=1)
    assert (said.gpus, said.cache, said.memory) == (1, 4 * GIB, 4 * GIB)
    assert Footprint.of([VLLM], None, gpus=0).gpus == 0
