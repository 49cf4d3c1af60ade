"""Values that are no numbers, in every type of file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from openllm.errors import WeightsError
from openllm.weights.adapters import ADAPTER_WEIGHTS, read_adapter
from openllm.weights.finite import check_finite, check_values
from tests.tiny import write_adapter, write_llama

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", TYPES)
def test_the_largest_number_is_one_and_nothing_beyond(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "a.safetensors"
    info = torch.finfo(dtype)
    fine = torch.tensor([0.0, -0.0, info.max, info.min, info.tiny, 1.0], dtype=dtype)
    tensors = {"fine": fine, "none": torch.empty(0, 3, dtype=dtype)}
    save_file(tensors, path)
    check_finite(path)
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = fine.clone()
        bad[-1] = value
        save_file({**tensors, "bad": bad}, path)
        with pytest.raises(WeightsError, match="NaN or infinite values in bad"):
            check_finite(path)


def test_products_that_are_no_numbers(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", write_llama(tmp_path / "base"))
    check_values(read_adapter(adapter))
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    for name, tensor in tensors.items():
        tensor.fill_(-1e30 if "lora_A" in name else 1e10)
    save_file(tensors, adapter / ADAPTER_WEIGHTS)
    with pytest.raises(WeightsError, match=r"values of 1e\+30 by 1e\+10 for model"):
        check_values(read_adapter(adapter))


def test_whole_numbers_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"count": torch.tensor([-1, 2**31 - 1], dtype=torch.int32)}, path)
    check_finite(path)
