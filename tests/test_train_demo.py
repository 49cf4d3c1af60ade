"""The training script of the demo model: a tiny run on the CPU writes a directory that loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

SCRIPT = Path(__file__).parent.parent / "scripts" / "train_demo.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one tiny run: model and adapters."""
    out = tmp_path_factory.mktemp("trained") / "demo"
    run("--base", "--adapters", "--out", str(out))
    return out


def run(*options: str) -> None:
    """The script on the CPU, a few steps."""
    command = [sys.executable, str(SCRIPT), "--tiny", *options]
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_tiny_run_writes_a_model_that_loads(trained: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(trained)
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    config = model.config
    assert 2.5e6 < sum(weight.numel() for weight in model.parameters()) < 3.5e6
    assert config.head_dim % 32 == 0
    assert config.num_key_value_heads % 2 == 0
    assert config.max_position_embeddings == 2048
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == config.eos_token_id
    assert config.vocab_size == len(tokenizer)


def test_a_model_is_trained_further(trained: Path, tmp_path: Path) -> None:
    further = tmp_path / "demo"
    shutil.copytree(trained, further)
    options = ("--resume", "--rate", "1e-4", "--talk", "0.5")
    run("--base", "--adapters", *options, "--out", str(further))
    before, after = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for folder in (trained, further)
    )
    moved = [
        float((one - other).abs().max())
        for one, other in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert max(moved) > 0  # further, by a few small steps
    assert max(moved) < 0.01
    kept = [(folder / "adapters/french/adapter_model.safetensors") for folder in (trained, further)]
    assert kept[0].read_bytes() != kept[1].read_bytes()
    assert (further / "tokenizer.json").read_bytes() == (trained / "tokenizer.json").read_bytes()


def test_the_tokenizer_gives_back_any_text(trained: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    for text in (
        "How do I build a Bento?",
        "  two  spaces\n\ttab",
        "naïve 漢字 🙂",
        "`openllm start ./my-model`",
    ):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id


def test_the_adapters_name_their_base_and_load(trained: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(trained)
    for name in ("pirate", "french"):
        folder = trained / "adapters" / name
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        assert settings["base_model_name_or_path"] == "openllm/demo"
        assert settings["r"] <= 8
        model = peft.PeftModel.from_pretrained(model, folder, adapter_name=name).get_base_model()
    card = (trained / "README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card
