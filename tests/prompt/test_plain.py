"""A tokenizer without a fast form streams whole characters, stops, and shows its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import ByT5Tokenizer

from openllm.answer.text import StreamDecoder
from openllm.answer.tokens import TokenTable
from openllm.llm.llm import LLM
from openllm.prompt.plain import SlowTokenizer
from tests.protocols.conftest import echo_llm
from tests.serving import write_echo_model

TEXT = "Bentö 弁当 🍱 stop, and go"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer is of bytes, and has no file of its own."""
    path = write_echo_model(tmp_path_factory.mktemp("bytes") / "model", vocab_size=400)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (path / name).unlink(missing_ok=True)
    ByT5Tokenizer().save_pretrained(path)
    assert not (path / "tokenizer.json").exists()
    return path


@pytest.fixture(scope="module")
def llm(path: Path) -> Iterator[LLM]:
    with echo_llm(path) as llm:
        yield llm


def test_no_character_is_split() -> None:
    slow = SlowTokenizer(ByT5Tokenizer())
    ids = slow.encode(TEXT, add_special_tokens=False).ids
    decoder = StreamDecoder(slow)
    pieces = [decoder.step(token) for token in ids]
    assert "".join(pieces) + decoder.flush() == TEXT
    assert all("\ufffd" not in piece for piece in pieces)
    assert max(map(len, pieces)) == 1
    table = TokenTable(slow)
    assert b"".join(map(table.data, ids)) == TEXT.encode()
    assert table.special(slow.encode("", add_special_tokens=True).ids[0])


def test_bytes_that_are_no_text_are_let_go() -> None:
    slow = SlowTokenizer(ByT5Tokenizer())
    decoder = StreamDecoder(slow)
    byte = slow.encode("\x7f", add_special_tokens=False).ids[0] + 1  # 0x80: begins no character
    text = "".join(decoder.step(byte) for _ in range(9)) + decoder.flush()
    ends = "".join(decoder.step(token) for token in slow.encode("ab", False).ids)
    assert set(text) <= {"\ufffd"}
    assert ends.endswith("ab")


async def collected(llm: LLM, **options: object) -> tuple[str, str | None]:
    text, reason = "", None
    async for piece in llm.generate_iterator(TEXT, **options):  # type: ignore[arg-type]
        text += piece.outputs[0].text
        reason = piece.outputs[0].finish_reason or reason
    return text, reason


def test_an_answer_streams_and_stops(llm: LLM) -> None:
    whole, reason = llm.run(collected(llm, max_tokens=64))
    assert "弁当 🍱" in whole
    assert reason in ("length", "stop")
    until, reason = llm.run(collected(llm, max_tokens=64, stop=["stop"]))
    assert (until, reason) == (whole.partition("stop")[0], "stop")
    assert llm.run(llm.generate(TEXT, max_tokens=64)).outputs[0].text == whole


def test_a_class_of_no_vocabulary_needs_no_file(path: Path) -> None:
    assert json.loads((path / "tokenizer_config.json").read_text())["tokenizer_class"]
