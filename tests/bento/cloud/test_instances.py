"""Which machines a Bento fits on: by the plan of its engines, and the GPUs that its recipe asks
for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.bento.build import BuildOptions, build
from openllm.bento.cloud.instances import (
    InstanceType,
    cheapest,
    find_instance_type,
    read_quantity,
    why_not,
)
from openllm.bento.inspect import bento_replica, inspect_bento
from openllm.bento.pack.resources import Resources
from openllm.config.spec import LLMSpec
from openllm.errors import DeployError
from openllm.llm.replica import PlannedEngine, PlannedReplica
from openllm.weights.outline import Outline, outline_of

GIB = 2**30
CPU = InstanceType("cpu.4", "0.20", "4", 16 * GIB, 0, "", None, "")
L4 = InstanceType("gpu.l4.1", "$0.90/h", "8", 32 * GIB, 1, "nvidia-l4", 24 * GIB, "")
FOUR = attrs.evolve(L4, name="gpu.l4.4", price="3.60", gpus=4)
A100 = InstanceType("gpu.a100.1", "4.20", "16", 80 * GIB, 1, "nvidia-a100-80gb", 80 * GIB, "")
UNKNOWN = attrs.evolve(L4, gpu_type="nvidia-x9", gpu_memory=None)
PRICELESS = attrs.evolve(A100, name="gpu.beta", price="")
SHAPE = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}


def replica(size: int | None, gpus: int, kind: str | None = None, **options: Any) -> PlannedReplica:
    """One that serves `size` bytes of weights in bf16; None: nobody knows how many."""
    backend = "vllm" if gpus else "pytorch"
    outline = None if size is None else Outline(SHAPE, {}, size)
    spec = LLMSpec(model_id="demo", backend=backend, dtype="bfloat16", **options)
    return PlannedReplica((PlannedEngine(spec, outline),), gpus, kind)


@pytest.mark.parametrize(
    ("need", "kind", "reason"),
    [
        (replica(16 * GIB, 1), L4, None),
        (replica(20 * GIB, 1), L4, r"demo needs 24\.3 GiB .*and 20\.7 GiB of 1 x nvidia-l4 are"),
        (replica(20 * GIB, 1), FOUR, r"demo needs 24\.3 GiB"),  # it would use one of them
        (replica(20 * GIB, 4), FOUR, None),
        (replica(20 * GIB, 1), A100, None),
        (replica(20 * GIB, 1, "nvidia-l4"), A100, "needs nvidia-l4, has nvidia-a100-80gb"),
        (replica(GIB, 2), L4, "needs 2 GPUs, has 1"),
        (replica(GIB, 1), CPU, "needs 1 GPU, has none"),
        (replica(12 * GIB, 0), CPU, None),
        (replica(14 * GIB, 0), CPU, "there are 339.0 MiB for keys and values, and 1 of 4096"),
        (replica(16 * GIB, 0), CPU, r"demo needs 17\.6 GiB .*and 16\.0 GiB of memory are there"),
        (replica(None, 1), L4, None),  # fetched at start
        (replica(GIB, 1), attrs.evolve(L4, gpu_memory=None), None),  # the kind is known
        (replica(GIB, 1), UNKNOWN, "its memory is not known"),
    ],
)
def test_a_replica_fits_or_the_reason_is_said(
    need: PlannedReplica, kind: InstanceType, reason: str | None
) -> None:
    said = why_not(kind, need)
    if reason is None or said is None:
        assert said is reason
    else:
        assert re.match(reason, said), said


def test_the_cheapest_that_fits_is_taken_and_one_without_a_price_last() -> None:
    kinds = [PRICELESS, A100, FOUR, L4, CPU]
    assert cheapest(kinds, replica(GIB, 1)) is L4
    assert cheapest(kinds, replica(30 * GIB, 1)) is A100
    assert cheapest([PRICELESS, FOUR], replica(30 * GIB, 1)) is PRICELESS


def test_where_none_fits_the_largest_says_why() -> None:
    with pytest.raises(
        DeployError, match=r"gpu\.l4\.4, the largest, does not: demo needs 104\.3 GiB .* 20\.7 GiB"
    ):
        cheapest([CPU, L4, FOUR], replica(100 * GIB, 1))
    with pytest.raises(DeployError, match="offers this account no instance types"):
        cheapest([], replica(GIB, 0))


def test_an_unknown_one_gets_the_nearest_named() -> None:
    assert find_instance_type([L4, A100], "gpu.l4.1") is L4
    with pytest.raises(
        DeployError, match=r"no instance type 'gpu\.a100'\. Did you mean gpu\.a100\.1\?"
    ):
        find_instance_type([L4, A100], "gpu.a100")


def test_the_need_is_read_from_the_bento(home: Path, echo_model: Path) -> None:
    spec = LLMSpec(model_id=str(echo_model), backend="echo", kv_cache_memory=3 * GIB)
    result = build(spec, BuildOptions(resources=Resources(gpu=1, gpu_type="nvidia-l4")))
    need = bento_replica(inspect_bento(result.tag))
    assert (need.gpus, need.gpu_type) == (1, "nvidia-l4")
    (engine,) = need.engines
    assert engine.spec.kv_cache_memory == 3 * GIB
    assert engine.outline is not None
    assert engine.outline == outline_of(echo_model)
    assert 3 * GIB < need.memory < 4 * GIB  # as it was told, the process, and hardly any weights


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24Gi", 24 * GIB),
        ("500M", 500_000_000),
        ("80 GB", 80_000_000_000),
        ("1", 1),
        ("0.5Gi", GIB // 2),
        ("2000k", 2_000_000),
    ],
)
def test_quantities(text: str, value: int) -> None:
    assert read_quantity(text) == value


@pytest.mark.parametrize("text", [None, "", "much", "-1Gi", "1e9", "4X"])
def test_what_is_no_quantity_is_not_known(text: str | None) -> None:
    assert read_quantity(text) is None
