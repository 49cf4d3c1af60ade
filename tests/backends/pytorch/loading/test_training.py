"""From fifty lines to an adapter that is served: prepare_for_training, the example's training, and
what it saves.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.llm.llm import LLM
from openllm.llm.model import Model
from openllm.llm.training import prepare
from openllm.weights.adapters import check_adapter
from tests.tiny import write_gpt2, write_llama

ROOT = Path(__file__).parents[4]
DATA = ROOT / "examples" / "finetune.jsonl"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("training") / "base")


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location(
        "finetune_example", ROOT / "examples" / "finetune.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_the_matrices_of_the_adapter_are_trained(weights: Path) -> None:
    model, tokenizer = LLM(str(weights), backend="echo").prepare_for_training(
        rank=3, targets=["q_proj", "v_proj"]
    )
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 2 * 2  # A and B of two layers' q and v
    assert all("lora_" in name for name in trained)
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha) == (3, 6)
    ids = torch.tensor([tokenizer.encode("hello world")], device=model.device)
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(weight.grad is not None for weight in trained.values())


def test_it_takes_an_llm_or_the_model_in_it(weights: Path) -> None:
    for one in (LLM(str(weights)), Model(LLMSpec(model_id=str(weights)), Settings())):
        model, tokenizer = prepare(one, rank=2, targets=["v_proj"])
        assert model.peft_config["default"].r == 2
        assert tokenizer is one.tokenizer


@pytest.mark.parametrize("options", [{"rank": 0}, {"dropout": 1.0}])
def test_impossible_plans_are_refused(weights: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="rank must be at least 1"):
        LLM(str(weights), backend="echo").prepare_for_training(**options)


def test_all_linear_layers_are_trained_by_default_and_can_be_mounted(tmp_path: Path) -> None:
    base = write_gpt2(tmp_path / "gpt2")
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        model, _ = LLM(str(base), backend="pytorch").prepare_for_training(
            gradient_checkpointing=True
        )
    model.save_pretrained(tmp_path / "adapter")
    checked = check_adapter(tmp_path / "adapter", base)
    assert (checked.rank, checked.targets) == (8, ("c_attn", "c_fc", "c_proj"))


def test_the_example_learns_and_its_adapter_is_served(weights: Path, tmp_path: Path) -> None:
    example = load_example()
    lines = DATA.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 50
    data = tmp_path / "two.jsonl"
    data.write_text("\n".join(lines[:2]), encoding="utf-8")
    out = tmp_path / "bakery"
    options = argparse.Namespace(data=data, out=out, steps=60, seed=1)
    with LLM(str(weights), backend="pytorch", dtype="float32") as llm:
        question = json.loads(lines[0])["messages"][0]["content"]
        before = str(llm(question, max_tokens=8, temperature=0))
        loss = example.train(llm, options)
        assert (
            str(llm(question, max_tokens=8, temperature=0)) == before
        )  # the engine's model is another one
        llm.run(llm.mount_adapter("bakery", out))
        answer = json.loads(lines[0])["messages"][1]["content"]
        said = str(llm(question, adapter_name="bakery", max_tokens=60, temperature=0))
    assert loss < 0.2
    assert said.startswith(answer)
    for file in out.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name
