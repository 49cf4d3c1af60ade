"""vLLM pools a model as `openllm.weights.pooling` reads it, like the PyTorch engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.backends.vllm.launch import plan_arguments
from openllm.backends.vllm.pooling import own_stages, used_pooling
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import UnsupportedFeature, WeightsError
from openllm.weights.checkpoint import read_config
from openllm.weights.modules import Normalize
from openllm.weights.pooling import pooling_of
from tests.sentence import write_modules, write_tensors
from tests.tiny import write_encoder, write_llama, write_t5

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
    (path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "attention"}')
    with pytest.raises(UnsupportedFeature, match="attention"):
        planned(path)


DENSE = {"in_features": 64, "out_features": 8, "bias": False}
TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}
LINEAR = {"linear.weight": (8, 64)}


def with_dense(tmp_path: Path, **fields: Any) -> Path:
    path = write_modules(
        write_encoder(tmp_path / "encoder"),
        ("Pooling", {"pooling_mode": "cls"}),
        ("Dense", {**DENSE, **fields}),
        ("Normalize", {}),
    )
    write_tensors(path / "2_Dense", LINEAR)
    return path


def test_its_own_dense_layers_are_left_to_it_and_the_rest_is_ours(tmp_path: Path) -> None:
    path = with_dense(tmp_path, **TANH)
    assert planned(path) == "cls"
    assert own_stages(path) == (Normalize(),)
    (path / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="is missing"):  # it would leave the layer out
        planned(path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"use_residual": True, **TANH}, "Dense"), ({}, "Dense"), ({"pooling": "max"}, "by max")],
)
def test_modules_that_it_does_not_follow(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    path = with_dense(tmp_path, **fields)
    if how := fields.get("pooling"):
        (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": how}))
    with pytest.raises(UnsupportedFeature, match=says) as caught:
        planned(path)
    assert "pytorch" in str(caught.value.hint)


def test_a_prompt_that_is_not_pooled_and_an_encoder_of_t5(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder")
    write_modules(path, ("Pooling", {"pooling_mode": "mean", "include_prompt": False}))
    with pytest.raises(UnsupportedFeature, match="prompt"):
        planned(path)
    with pytest.raises(UnsupportedFeature, match="t5 alone"):
        planned(write_t5(tmp_path / "t5"))


def test_a_language_model_that_answers_yes_or_no_becomes_a_classifier(tmp_path: Path) -> None:
    path = write_llama(tmp_path / "llama")
    spec = LLMSpec(model_id=str(path), task="classify")
    for false, method in ((9, "from_2_way_softmax"), (None, "no_post_processing")):
        write_modules(path, ("LogitScore", {"true_token_id": 7, "false_token_id": false}))
        made = plan_arguments(spec, path, Settings()).values["hf_overrides"]
        assert made["architectures"] == ["LlamaForSequenceClassification"]
        assert made["method"] == method
        assert len(made["classifier_from_token"]) == (1 if false is None else 2)
