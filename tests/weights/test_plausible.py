"""Sizes that no model can have, and JSON that nobody can read, are refused before an engine is
asked.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import WeightsError
from openllm.weights.checkpoint import check_checkpoint
from tests.tiny import write_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("plausible") / "model")


def edited(model: Path, path: Path, **fields: Any) -> Path:
    shutil.copytree(model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **fields}))
    return path


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"vocab_size": -1}, "vocab_size=-1"),
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"vocab_size": 10**12}, "vocab_size=1000000000000"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"num_attention_heads": -4}, "num_attention_heads=-4"),
        ({"num_key_value_heads": 0}, "num_key_value_heads=0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers=-1"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers=1000000, and the weights have"),
        ({"text_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers=1000000"),
    ],
)
def test_sizes_out_of_range(model: Path, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        check_checkpoint(edited(model, tmp_path / "model", **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"architectures": [["LlamaForCausalLM"]]},
        {"architectures": {"a": 1}},
        {"model_type": ["llama"]},
        {"quantization_config": [1]},
        {"quantization_config": "x"},
    ],
)
def test_values_of_other_types(model: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=f"says {next(iter(fields))}="):
        check_checkpoint(edited(model, tmp_path / "model", **fields))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_json_too_deep_to_read(model: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copytree(model, tmp_path / "model"))
    (path / name).write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(WeightsError, match=f"{name} is not readable JSON"):
        check_checkpoint(path)
