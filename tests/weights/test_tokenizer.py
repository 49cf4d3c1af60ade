"""A tokenizer loads from its directory, or says in one line why it does not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import MissingDependency, WeightsError
from openllm.weights import tokenizer
from openllm.weights.endings import end_token_ids
from openllm.weights.tokenizer import load_tokenizer
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


RANKED = base64.b64encode(b"a") + b" 0\n" + base64.b64encode(b"b") + b" 1\n"
SENTENCEPIECE = b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"


@pytest.mark.parametrize(
    ("name", "content", "missing", "says"),
    [
        ("tokenizer.model", SENTENCEPIECE, "sentencepiece", "pip install sentencepiece protobuf"),
        ("spiece.model", SENTENCEPIECE, "protobuf", "pip install sentencepiece protobuf"),
        ("tokenizer.model", RANKED, "tiktoken", "pip install tiktoken"),
        ("tiktoken.model", RANKED, "tiktoken", "pip install tiktoken"),
    ],
)
def test_the_package_that_reads_a_vocabulary_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes,
    missing: str,
    says: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(tokenizer, "is_installed", lambda package: package != missing)
    with pytest.raises(MissingDependency, match=f"{name}.* needs the package {missing}") as caught:
        load_tokenizer(tmp_path)
    assert says in str(caught.value.hint)


def write_tekken(path: Path) -> Path:
    """Mistral's own vocabulary, and nothing else: 20 special tokens, 256 bytes and three words."""
    words = [bytes([at]) for at in range(256)] + [b"he", b"ll", b"hell"]
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    said: dict[str, Any] = {
        "config": {
            "pattern": r"\w+|\s+\w*|[^\w\s]+",
            "default_vocab_size": 20 + len(words),
            "default_num_special_tokens": 20,
            "version": "v7",
        },
        "vocab": [
            {"rank": at, "token_bytes": base64.b64encode(word).decode(), "token_str": None}
            for at, word in enumerate(words)
        ],
        "special_tokens": [
            {"rank": at, "token_str": text, "is_control": True} for at, text in enumerate(special)
        ],
    }
    path.mkdir(exist_ok=True)
    (path / "tekken.json").write_text(json.dumps(said))
    return path


def test_mistrals_vocabulary_alone_has_a_fast_form_and_an_end(tmp_path: Path) -> None:
    found = load_tokenizer(write_tekken(tmp_path / "model"))
    ids = found.encode("hello", add_special_tokens=False)
    assert ids == [20 + 258, 20 + ord("o")]
    assert found.backend_tokenizer.decode(ids) == "hello"
    assert found.eos_token_id == 2
    assert end_token_ids(tmp_path / "model") == (2,)
