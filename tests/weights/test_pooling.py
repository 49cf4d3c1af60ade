"""One reader says how an embedding model is pooled, for every engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import UnsupportedFeature, WeightsError
from openllm.weights.pooling import is_encoder, pooling_of, pools_prompt, stored_pooling

BERT = {"model_type": "bert", "architectures": ["BertModel"]}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
HEADLESS = {"model_type": "mistral", "architectures": ["MistralModel"]}  # as e5-mistral is saved


def store(directory: Path, fields: Any, folder: str = "1_Pooling") -> Path:
    (directory / folder).mkdir()
    (directory / folder / "config.json").write_text(json.dumps(fields))
    return directory


@pytest.mark.parametrize(
    ("fields", "how"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, "last"),
        ({"pooling_mode": "lasttoken", "include_prompt": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "cls+mean"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
        ({"pooling_mode": ["lasttoken", "max"]}, "last+max"),
        ({"pooling_mode": "weightedmean", "pooling_mode_cls_token": True}, "weightedmean"),
        ({"pooling_mode_mean_tokens": False}, "mean"),  # as sentence-transformers takes it
    ],
)
def test_the_file_of_sentence_transformers_decides(
    tmp_path: Path, fields: dict[str, Any], how: str
) -> None:
    assert stored_pooling(store(tmp_path, fields)) == how
    assert pooling_of(tmp_path, BERT) == pooling_of(tmp_path, LLAMA) == how


def test_modules_json_says_where_the_file_is(tmp_path: Path) -> None:
    store(tmp_path, {"pooling_mode_mean_tokens": True})
    store(tmp_path, {"pooling_mode_cls_token": True}, "2_Pooling")
    kind = "sentence_transformers.models"
    modules = [{"path": "", "type": f"{kind}.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert stored_pooling(tmp_path) == "mean"
    modules += [{"path": "2_Pooling", "type": f"{kind}.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert stored_pooling(tmp_path) == "cls"


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (BERT, "mean"),
        (LLAMA, "last"),
        (HEADLESS, "last"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "last"),
        ({**BERT, "is_decoder": True}, "last"),
        ({"model_type": "bert"}, "mean"),
        ({"model_type": "of tomorrow", "architectures": None}, "mean"),
    ],
)
def test_without_it_the_kind_of_model_does(
    tmp_path: Path, config: dict[str, Any], how: str
) -> None:
    assert stored_pooling(tmp_path) is None
    assert pooling_of(tmp_path, config) == how
    assert is_encoder(config) is (how == "mean")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pooling_mode_attention_tokens": True}, "attention_tokens"),
        ({"pooling_mode": "attention"}, "attention"),
        ({"pooling_mode": ["mean", 3]}, "mean and 3"),
        ({"pooling_mode": []}, "nothing"),
    ],
)
def test_an_unknown_pooling_is_refused(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UnsupportedFeature, match=says):
        pooling_of(store(tmp_path, fields), BERT)


@pytest.mark.parametrize("name", ["1_Pooling/config.json", "modules.json"])
def test_a_torn_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    store(tmp_path, {"pooling_mode": "mean"})
    (tmp_path / name).write_text("{")
    with pytest.raises(WeightsError, match="not readable JSON") as caught:
        pooling_of(tmp_path, BERT)
    assert "\n" not in str(caught.value)


def test_a_prompt_counts_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    assert pools_prompt(tmp_path)
    store(tmp_path, {"pooling_mode": "mean", "include_prompt": False})
    assert not pools_prompt(tmp_path)
