"""The GPUs this process may use, how many an engine wants, and which it gets."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.hardware.gpus import (
    replica_gpus,
    share_devices,
    share_replicas,
    used_gpus,
    visible_devices,
    visible_gpus,
)
from tests.backends.fakes import FakeGpu, drive

GPUS = [
    FakeGpu(name="A", uuid="GPU-aa11"),
    FakeGpu(name="B", uuid="GPU-bb22"),
    FakeGpu(name="C", uuid="GPU-cc33"),
]


def names(mask: str | None = None) -> list[str]:
    return [gpu.name for gpu in visible_gpus(mask)]


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, None)
    assert visible_gpus(None) == ()


def test_all_are_visible_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    drive(monkeypatch, GPUS)
    assert names() == ["A", "B", "C"]
    first = visible_gpus(None)[0]
    assert (first.index, first.total, first.free) == (0, GPUS[0].total, GPUS[0].free)


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        ("2,0", ["C", "A"]),
        ("", []),
        ("1", ["B"]),
        ("GPU-bb", ["B"]),
        ("0,7,1", ["A"]),
        ("-1", []),
        ("0,no", ["A"]),
    ],
)
def test_the_mask_picks_and_orders(
    monkeypatch: pytest.MonkeyPatch, mask: str, seen: list[str]
) -> None:
    drive(monkeypatch, GPUS)
    assert names(mask) == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert names(Settings.from_env().visible_devices) == seen


def test_indices_count_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, GPUS)
    assert [gpu.index for gpu in visible_gpus("2,1")] == [0, 1]


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


@pytest.mark.parametrize(
    ("specs", "devices", "expected"),
    [
        ([{"replicas": 2}], "ab", [["a", "b"]]),
        ([{"replicas": 2}], "abcd", [["a,b", "c,d"]]),
        ([{"replicas": 2, "tensor_parallel_size": 1}], "abc", [["a", "b"]]),
        ([{"replicas": 2, "data_parallel_size": 2}], "abcd", [["a,b", "c,d"]]),
        ([{}, {"replicas": 2}], "abc", [["a"], ["b", "c"]]),
        ([{"replicas": 2}], "", [[None, None]]),  # no GPU: processes that share the CPU
        ([{"replicas": 2, "backend": "echo"}], "a", [[None, None]]),
        ([{"replicas": 3, "backend": "pytorch"}], "ab", [["a", "b", "a"]]),
        (
            [{"replicas": 4, "backend": "vllm", "gpu_memory_utilization": 0.45}],
            "ab",
            [["a", "b", "a", "b"]],
        ),
    ],
)
def test_each_replica_has_its_own(
    specs: list[dict[str, Any]], devices: str, expected: list[list[str | None]]
) -> None:
    found = share_replicas([LLMSpec(model_id="./m", **spec) for spec in specs], list(devices))
    assert [list(shares) for shares in found] == expected


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"replicas": 4, "backend": "vllm"}, "4 replicas want 4 GPUs, and there are 2.*0.45"),
        ({"replicas": 2, "tensor_parallel_size": 2}, "2 replicas want 4 GPUs"),
        (
            {"replicas": 4, "backend": "vllm", "gpu_memory_utilization": 0.6},
            "4 replicas want 4 GPUs",
        ),
        ({"replicas": 2, "device": "cuda:1"}, "2 replicas cannot all have the device cuda:1"),
    ],
)
def test_too_many_replicas_are_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        share_replicas([LLMSpec(model_id="./m", **spec)], ["a", "b"])


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({}, "ABC"),
        ({"device": "cuda:1"}, "B"),
        ({"device": "cuda:7"}, ""),
        ({"tensor_parallel_size": 2}, "AB"),
        ({"tensor_parallel_size": 1, "pipeline_parallel_size": 2}, "AB"),
        ({"pipeline_parallel_size": 2}, "ABC"),
    ],
)
def test_an_engine_uses_the_ones_its_spec_says(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], used: str
) -> None:
    drive(monkeypatch, GPUS)
    found = used_gpus(LLMSpec(model_id="./m", **fields), visible_gpus(None))
    assert "".join(gpu.name for gpu in found) == used


def test_a_replica_gets_a_set_for_each_engine_that_needs_one() -> None:
    engines = [{"backend": "vllm"}, {"backend": "pytorch"}, {"tensor_parallel_size": 2}]
    engines += [{"backend": "vllm", "device": "cpu"}, {"backend": "echo"}]
    assert replica_gpus([LLMSpec(model_id="./m", **fields) for fields in engines]) == 3
    assert replica_gpus([LLMSpec(model_id="./m", backend="vllm", replicas=3)]) == 3
