"""The GPUs this process may use."""

from __future__ import annotations

import pytest

from openllm.hardware.gpus import visible_gpus
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
    assert visible_gpus() == ()


def test_all_are_visible_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    drive(monkeypatch, GPUS)
    assert names() == ["A", "B", "C"]
    first = visible_gpus()[0]
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
    assert names() == seen


def test_indices_count_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, GPUS)
    assert [gpu.index for gpu in visible_gpus("2,1")] == [0, 1]
