"""Code of a model's own is needed only where transformers has no class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import WeightsError
from openllm.weights.code import needed_code, refuse_code, runs_code

NATIVE = {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}
AUTO = {"auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}


def write(directory: Path, **files: dict[str, Any]) -> Path:
    directory.mkdir()
    for name, value in files.items():
        (directory / f"{name}.json").write_text(json.dumps(value))
    return directory


@pytest.mark.parametrize(
    "files",
    [
        {"config": NATIVE | AUTO},
        {"config": NATIVE, "tokenizer_config": AUTO | {"tokenizer_class": "GPT2TokenizerFast"}},
        {"config": NATIVE, "tokenizer_config": AUTO},
        {"config": NATIVE | AUTO, "preprocessor_config": AUTO},
        {"config": NATIVE, "processor_config": AUTO | {"processor_class": "LlavaProcessor"}},
    ],
)
def test_transformers_own_class_goes_first(tmp_path: Path, files: dict[str, Any]) -> None:
    directory = write(tmp_path / "model", **files)
    assert needed_code(directory) is None
    assert not runs_code(directory, trusted=True)
    refuse_code(directory)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"config": AUTO | {"model_type": "of_our_own"}}, "config.json"),
        ({"config": AUTO | NATIVE | {"architectures": ["OurPhi3ForCausalLM"]}}, "config.json"),
        (
            {"config": NATIVE, "tokenizer_config": AUTO | {"tokenizer_class": "OurTokenizer"}},
            "tokenizer_config.json",
        ),
        ({"config": {}, "preprocessor_config": AUTO}, "preprocessor_config.json"),
    ],
)
def test_where_there_is_none_the_file_is_named(
    tmp_path: Path, files: dict[str, Any], named: str
) -> None:
    directory = write(tmp_path / "model", **files)
    with pytest.raises(WeightsError, match=rf"/{named} names code .*auto_map"):
        refuse_code(directory)
    assert runs_code(directory, trusted=True)
    assert not runs_code(directory, trusted=False)
