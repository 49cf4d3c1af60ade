"""vLLM pools a model as `openllm.weights.pooling` reads it, like the PyTorch engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm.backends.vllm.launch import plan_arguments
from openllm.backends.vllm.pooling import used_pooling
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedFeature
from openllm.weights.checkpoint import read_config
from openllm.weights.pooling import pooling_of
from tests.tiny import write_encoder, write_llama

pytestmark = pytest.mark.vllm


def planned(path: Path) -> str | None:
    spec = LLMSpec(model_id=str(path), task="embed")
    return used_pooling(plan_arguments(spec, path, Settings()).values["pooler_config"])


@pytest.mark.parametrize(
    ("stored", "how"), [("mean", "mean"), ("cls", "cls"), ("lasttoken", "last"), (None, "mean")]
)
def test_an_encoder(tmp_path: Path, stored: str | None, how: str) -> None:
    path = write_encoder(tmp_path / "encoder", pooling=stored)
    assert planned(path) == pooling_of(path, read_config(path)) == how


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "LlamaModel"])
def test_a_decoder_with_and_without_a_head(tmp_path: Path, architecture: str) -> None:
    """It got the mean of a headless one once, where the PyTorch engine took the last token."""
    path = write_llama(tmp_path / "llama")
    config = {**read_config(path), "architectures": [architecture]}
    (path / "config.json").write_text(json.dumps(config))
    assert planned(path) == pooling_of(path, config) == "last"


def test_what_the_pytorch_engine_refuses_it_refuses_too(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder")
    both = {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (path / "1_Pooling" / "config.json").write_text(json.dumps(both))
    with pytest.raises(UnsupportedFeature, match="mean_tokens and max_tokens"):
        planned(path)
