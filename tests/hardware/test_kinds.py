"""GPUs by the names that people, clouds and drivers give them."""

from __future__ import annotations

import pytest

from openllm.errors import ConfigurationError
from openllm.hardware.gpus import Gpu, alike_gpus
from openllm.hardware.kinds import find_gpu, known_gpu


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("H100", "H100"),
        ("h100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("nvidia-l4", "L4"),
        ("nvidia-a100-80gb", "A100"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("nvidia-tesla-t4", "T4"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA H200", "H200"),
    ],
)
def test_a_gpu_is_known_by_any_of_its_names(written: str, name: str) -> None:
    assert find_gpu(written).name == name


def test_one_that_is_not_known_is_said_with_the_nearest() -> None:
    assert known_gpu("abacus") is None
    with pytest.raises(ConfigurationError, match=r"No GPU 'H10O' is known.*Did you mean H100"):
        find_gpu("H10O")


def test_cards_that_differ_hold_no_model_together_unless_asked() -> None:
    big, one, two = (Gpu(0, "A100", 80, 80), Gpu(1, "RTX", 24, 24), Gpu(2, "RTX", 24, 24))
    assert alike_gpus([one, two]) == ((one, two), "")
    chosen, why = alike_gpus([one, big, two])
    assert chosen == (big,)
    assert "RTX, RTX would slow them down" in why
    assert alike_gpus([one, two, Gpu(3, "L4", 22, 22)])[0] == (one, two)
    together, why = alike_gpus([one, big, two], asked=True)
    assert together == (one, big, two)
    assert "it was asked for" in why
