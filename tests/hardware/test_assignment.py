"""Which GPUs each engine of a composition gets."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.hardware.assignment import share_devices, visible_devices


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("", ()),
        ("-1", ()),
        ("0", ("0",)),
        ("2, 3", ("2", "3")),
        ("1,-1,2", ("1",)),
        ("GPU-8932f937-d72c,MIG-GPU-1/1/0", ("GPU-8932f937-d72c", "MIG-GPU-1/1/0")),
    ],
)
def test_reading_the_mask(mask: str, expected: tuple[str, ...]) -> None:
    assert visible_devices(mask) == expected


@pytest.mark.parametrize(
    ("specs", "devices", "expected"),
    [
        ([{}], "abcd", [None]),  # one engine decides itself
        ([{}, {}], "", [None, None]),
        ([{}, {}], "a", [None, None]),  # they have to share
        ([{}, {}], "ab", ["a", "b"]),
        ([{}, {}], "abcd", ["a,b", "c,d"]),
        ([{"tensor_parallel_size": 2}, {}], "abcd", ["a,b", "c,d"]),
        ([{"tensor_parallel_size": 2}, {"tensor_parallel_size": 1}], "abcd", ["a,b", "c"]),
        ([{"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, {}], "abcde", ["a,b,c,d", "e"]),
        ([{}, {"device": "cpu"}, {}], "ab", ["a", "-1", "b"]),
        ([{"backend": "echo"}, {}], "ab", [None, None]),  # only one of them uses any
        ([{"device": "cuda:1"}, {}], "ab", [None, None]),  # the spec itself says which
    ],
)
def test_sharing(specs: list[dict[str, Any]], devices: str, expected: list[str | None]) -> None:
    found = share_devices([LLMSpec(model_id="./m", **spec) for spec in specs], list(devices))
    assert list(found) == expected
