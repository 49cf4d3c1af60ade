"""Single tokens as bytes: joined, the bytes of an encoded text's tokens are the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from openllm.answer.tokens import TokenTable
from tests.tiny import BOS, SPECIAL_TOKENS, write_tokenizer


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(
        str(write_tokenizer(tmp_path_factory.mktemp("tokens")) / "tokenizer.json")
    )


def byte_fallback() -> Tokenizer:
    """What SentencePiece models look like after conversion."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", "a", "b", "\u2581a"]
    merges = [("\u2581", "a")]
    model = models.BPE(
        {word: at for at, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


@given(
    text=st.text(max_size=40).filter(
        lambda text: not any(token in text for token in SPECIAL_TOKENS)
    )
)
def test_the_bytes_of_byte_level_tokens_join_to_the_text(byte_level: Tokenizer, text: str) -> None:
    table = TokenTable(byte_level)
    ids = byte_level.encode(text, add_special_tokens=False).ids
    assert b"".join(map(table.data, ids)) == text.encode()


@given(
    text=st.text(alphabet="ab \u00fc\u4e2d", min_size=1, max_size=20).filter(
        lambda text: "  " not in text
    )
)
def test_the_bytes_of_byte_fallback_tokens_join_to_the_text(text: str) -> None:
    tokenizer = byte_fallback()
    table = TokenTable(tokenizer)
    joined = b"".join(map(table.data, tokenizer.encode(text).ids)).decode()
    assert joined.removeprefix(" ") == text.removeprefix(" ")


def test_an_incomplete_character_shows_as_the_replacement_and_keeps_its_bytes(
    byte_level: Tokenizer,
) -> None:
    table = TokenTable(byte_level)
    ids = byte_level.encode("\u4e2d", add_special_tokens=False).ids
    assert len(ids) > 1
    assert table.text(ids[0]) == "\ufffd"
    assert b"".join(map(table.data, ids)).decode() == "\u4e2d"


def test_special_tokens_are_their_own_text(byte_level: Tokenizer) -> None:
    table = TokenTable(byte_level)
    assert table.text(BOS) == "<s>"
    assert table.special(BOS)
    assert not table.special(byte_level.token_to_id("a"))


def test_an_id_outside_the_vocabulary_is_nothing(byte_level: Tokenizer, tmp_path: Path) -> None:
    assert TokenTable(byte_level).data(10**6) == b""
