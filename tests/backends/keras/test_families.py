"""Which checkpoints are taken, what is refused before Keras is even imported, and the configuration
KerasHub gets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.backends.keras.families import FAMILIES, end_tokens, full_config, geometry, preset
from openllm.errors import UnsupportedCombination, WeightsError
from tests.backends.keras.checkpoints import CONFIGS, SCALED_ROPE, write_checkpoint


@pytest.mark.parametrize("name", CONFIGS)
def test_the_families_on_the_list_are_taken_as_transformers_writes_them(
    tmp_path: Path, name: str
) -> None:
    config = full_config(write_checkpoint(tmp_path, name))
    assert config["model_type"] in FAMILIES
    shape = geometry(config)
    assert (shape.vocab_size, shape.layers) == (131, 4 if name == "smollm3" else 2)
    assert shape.head_dim == (16 if name == "qwen3" else 8)
    assert shape.kv_heads == (4 if name == "gpt2" else 2)
    assert shape.max_positions == (100 if name == "gpt2" else 200)


@pytest.mark.parametrize("model_type", ["gemma3_text", "mistral", "phi3", "unheard_of"])
def test_any_other_family_is_refused_and_told_what_goes(tmp_path: Path, model_type: str) -> None:
    path = write_checkpoint(tmp_path, "llama", model_type=model_type)
    with pytest.raises(UnsupportedCombination) as caught:
        full_config(path)
    text = str(caught.value)
    assert model_type in text
    assert all(name in text for name in (*FAMILIES, "pytorch", "vllm"))
    assert "\n" not in text


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"attention_bias": True}),
    ("llama", {"mlp_bias": True}),
    ("llama", {"hidden_act": "gelu"}),
    ("llama", {"head_dim": 16}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}),
    ("qwen3", {"attention_bias": True}),
    (
        "qwen3",
        {"rope_parameters": {**SCALED_ROPE, "rope_type": "yarn"}},
    ),
    ("smollm3", {"tie_word_embeddings": False}),
    ("gpt2", {"n_inner": 64}),
    ("gpt2", {"activation_function": "relu"}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
]


@pytest.mark.parametrize(("name", "change"), VARIANTS)
def test_a_variant_that_kerashub_would_get_wrong_is_refused(
    tmp_path: Path, name: str, change: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedCombination, match="wrong: its"):
        full_config(write_checkpoint(tmp_path, name, **change))


def test_the_rotary_embedding_is_spelled_as_kerashub_reads_it(tmp_path: Path) -> None:
    config = full_config(write_checkpoint(tmp_path / "scaled", "llama-scaled"))
    assert config["rope_theta"] == SCALED_ROPE["rope_theta"]
    assert config["rope_scaling"]["factor"] == SCALED_ROPE["factor"]
    assert "rope_parameters" not in config
    old = {key: value for key, value in SCALED_ROPE.items() if key != "rope_theta"}
    older = write_checkpoint(
        tmp_path / "old", "llama", rope_parameters=None, rope_theta=5e5, rope_scaling=old
    )
    assert full_config(older)["rope_scaling"]["factor"] == 8.0
    plain = full_config(write_checkpoint(tmp_path / "plain", "llama"))
    assert (plain["rope_theta"], plain["rope_scaling"]) == (10000.0, None)


def test_the_preset_carries_the_new_configuration_and_the_old_weights(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "llama")
    before = (path / "config.json").read_text()
    with preset(path, {"model_type": "llama", "added": 1}) as directory:
        assert json.loads((directory / "config.json").read_text())["added"] == 1
        weights = directory / "model.safetensors"
        assert weights.read_bytes() == (path / "model.safetensors").read_bytes()
    assert not directory.exists()
    assert (path / "config.json").read_text() == before
    assert (path / "model.safetensors").is_file()


def test_a_directory_without_safetensors_is_a_clear_error(tmp_path: Path) -> None:
    (write_checkpoint(tmp_path, "llama") / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="safetensors"), preset(tmp_path, {}):
        pass


def test_a_configuration_that_fits_no_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json"):
        full_config(write_checkpoint(tmp_path, "llama", num_hidden_layers="many"))


def test_the_end_tokens_are_all_that_any_of_its_files_names(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, "llama")
    assert end_tokens(path) == (2,)
    (path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    assert end_tokens(path) == (7, 8, 2)
    (path / "generation_config.json").write_text("{}")
    assert end_tokens(path) == (2,)
