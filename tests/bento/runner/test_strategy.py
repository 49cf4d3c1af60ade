"""How many workers a Runner has, and which GPUs each of them sees."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.llm.llm import LLM


@pytest.mark.parametrize(
    ("mask", "resources", "share", "spec", "expected"),
    [
        ("", None, 1, {}, ["-1"]),
        ("-1", None, 1, {}, ["-1"]),
        ("0,1", None, 1, {}, ["0", "1"]),
        ("3,5", None, 1, {}, ["3", "5"]),
        ("3,-1,5", None, 1, {}, ["3"]),
        ("GPU-aa,GPU-bb", None, 1, {}, ["GPU-aa", "GPU-bb"]),
        ("MIG-11/2/0", None, 1, {}, ["MIG-11/2/0"]),
        ("4,5,6,7", None, 0.5, {}, ["4,5", "6,7"]),
        ("4,5,6,7", None, 1, {"tensor_parallel_size": 4}, ["4,5,6,7"]),
        ("4,5,6,7", None, 1, {"tensor_parallel_size": 2}, ["4,5", "6,7"]),
        ("4,5", None, 2, {}, ["4", "4", "5", "5"]),
        ("4,5,6", {"nvidia.com/gpu": 2}, 1, {}, ["4", "5"]),
        ("4,5,6", {"nvidia.com/gpu": [2, 0]}, 1, {}, ["6", "4"]),
        ("4,5,6", {"amd.com/gpu": 1}, 1, {}, ["4"]),
        ("4,5,6", {"nvidia.com/gpu": 0}, 1, {}, ["-1"]),
    ],
)
def test_each_worker_gets_its_gpus(
    monkeypatch: pytest.MonkeyPatch,
    mask: str,
    resources: Any,
    share: float,
    spec: dict[str, Any],
    expected: list[str],
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    runner = LLM.from_spec(LLMSpec(model_id="./m", **spec)).to_runner()
    strategy, kind = runner.scheduling_strategy, runner.runnable_class
    count = strategy.get_worker_count(kind, resources, share)
    found = [
        strategy.get_worker_env(kind, resources, share, at)["CUDA_VISIBLE_DEVICES"]
        for at in range(count)
    ]
    assert found == expected


@pytest.mark.parametrize("wanted", ["two", 3, -1, [2], [-1], ["x"], {}])
def test_gpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch, wanted: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    runner = LLM.from_spec(LLMSpec(model_id="./m")).to_runner()
    with pytest.raises(ConfigurationError, match="CUDA_VISIBLE_DEVICES"):
        runner.scheduling_strategy.get_worker_count(
            runner.runnable_class, {"nvidia.com/gpu": wanted}, 1
        )


def test_too_few_gpus_for_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    runner = LLM.from_spec(LLMSpec(model_id="./m", tensor_parallel_size=4)).to_runner()
    with pytest.raises(ConfigurationError, match="needs 4 GPUs and the runner has 2"):
        runner.scheduling_strategy.get_worker_count(runner.runnable_class, None, 1)
