"""A tokenizer loads from its directory, or says in one line why it does not."""

from __future__ import annotations

import pytest

from openllm.errors import WeightsError
from openllm.prompt.tokenizer import load_tokenizer
from tests.tiny import write_tokenizer


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "tokenizer.json is missing"),
        ({"tokenizer.json": "{"}, "not readable JSON"),
        ({"tokenizer.json": "{}"}, "does not load"),
        (
            {"tokenizer.json": '{"model": {"type": "Nothing"}}', "tokenizer_config.json": "{}"},
            "does not load",
        ),
    ],
)
def test_a_broken_tokenizer_is_one_clear_line(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(WeightsError, match=words) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_config_of_wrong_types_is_one_clear_line(tmp_path):
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_attention_heads": "two"}')
    with pytest.raises(
        WeightsError, match=r"config.json cannot be used: .*num_attention_heads"
    ) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_directory_is_one_clear_line(tmp_path):
    with pytest.raises(WeightsError, match="no directory"):
        load_tokenizer(tmp_path / "nowhere")
