"""Which machines a Bento fits on: by its weights, the room for its cache, and the GPUs that its
recipe asks for.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from openllm.bento.build import BuildOptions, build
from openllm.bento.cloud.instances import (
    InstanceType,
    bento_footprint,
    cheapest,
    find_instance_type,
    read_quantity,
    why_not,
)
from openllm.bento.pack.resources import Resources
from openllm.config.spec import LLMSpec
from openllm.errors import DeployError
from openllm.hardware.footprint import Footprint

GIB = 2**30
CPU = InstanceType("cpu.4", "0.20", "4", 16 * GIB, 0, "", None, "")
L4 = InstanceType("gpu.l4.1", "$0.90/h", "8", 32 * GIB, 1, "nvidia-l4", 24 * GIB, "")
FOUR = attrs.evolve(L4, name="gpu.l4.4", price="3.60", gpus=4)
A100 = InstanceType("gpu.a100.1", "4.20", "16", 80 * GIB, 1, "nvidia-a100-80gb", 80 * GIB, "")
PRICELESS = attrs.evolve(A100, name="gpu.beta", price="")


@pytest.mark.parametrize(
    ("need", "kind", "reason"),
    [
        (Footprint(16 * GIB, 2 * GIB, 1), L4, None),
        (Footprint(20 * GIB, 2 * GIB, 1), L4, "needs 26.0 GiB on 1 GPU, has 24.0 GiB"),
        (
            Footprint(20 * GIB, 2 * GIB, 1),
            FOUR,
            "needs 26.0 GiB on 1 GPU, has 24.0 GiB",
        ),  # it would use one of them
        (Footprint(20 * GIB, 2 * GIB, 4), FOUR, None),
        (Footprint(20 * GIB, 2 * GIB, 1), A100, None),
        (
            Footprint(20 * GIB, 2 * GIB, 1, "nvidia-l4"),
            A100,
            "needs nvidia-l4, has nvidia-a100-80gb",
        ),
        (Footprint(GIB, 2 * GIB, 2), L4, "needs 2 GPUs, has 1"),
        (Footprint(GIB, 2 * GIB, 1), CPU, "needs 1 GPU, has none"),
        (Footprint(GIB, 2 * GIB, 0), CPU, None),
        (Footprint(12 * GIB, 2 * GIB, 0), CPU, "needs 17.4 GiB of memory, has 16.0 GiB"),
        (Footprint(None, 2 * GIB, 1), L4, None),  # fetched at start
        (Footprint(GIB, 2 * GIB, 1), attrs.evolve(L4, gpu_memory=None), "its memory is not known"),
    ],
)
def test_a_replica_fits_or_the_reason_is_said(
    need: Footprint, kind: InstanceType, reason: str | None
) -> None:
    assert why_not(kind, need) == reason


def test_the_cheapest_that_fits_is_taken_and_one_without_a_price_last() -> None:
    kinds = [PRICELESS, A100, FOUR, L4, CPU]
    assert cheapest(kinds, Footprint(GIB, 2 * GIB, 1)) is L4
    assert cheapest(kinds, Footprint(30 * GIB, 2 * GIB, 1)) is A100
    assert cheapest([PRICELESS, FOUR], Footprint(30 * GIB, 2 * GIB, 1)) is PRICELESS


def test_where_none_fits_the_largest_says_why() -> None:
    with pytest.raises(
        DeployError, match=r"gpu\.l4\.4, the largest, does not: needs 122\.0 GiB on 1 GPU, has 24"
    ):
        cheapest([CPU, L4, FOUR], Footprint(100 * GIB, 2 * GIB, 1))
    with pytest.raises(DeployError, match="offers this account no instance types"):
        cheapest([], Footprint(GIB, GIB, 0))


def test_an_unknown_one_gets_the_nearest_named() -> None:
    assert find_instance_type([L4, A100], "gpu.l4.1") is L4
    with pytest.raises(
        DeployError, match=r"no instance type 'gpu\.a100'\. Did you mean gpu\.a100\.1\?"
    ):
        find_instance_type([L4, A100], "gpu.a100")


def test_the_need_is_read_from_the_bento(home: Path, echo_model: Path) -> None:
    spec = LLMSpec(model_id=str(echo_model), backend="echo", kv_cache_memory=3 * GIB)
    result = build(spec, BuildOptions(resources=Resources(gpu=1, gpu_type="nvidia-l4")))
    need = bento_footprint(result.tag)
    assert (need.cache, need.gpus, need.gpu_type) == (3 * GIB, 1, "nvidia-l4")
    assert need.weights == sum(path.stat().st_size for path in echo_model.iterdir())


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
