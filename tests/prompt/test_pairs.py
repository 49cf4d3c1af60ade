"""Texts and pairs become the token ids that transformers' tokenizer gives, cut where that cuts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.prompt.pairs import Cut, Input, Pair, Side, encode_inputs, fitting
from openllm.types import EncodedText
from openllm.weights.tokenizer import load_tokenizer
from tests.tiny import BOS, CORPUS, EOS, write_classifier

WORDS = " ".join(CORPUS).split()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("pairs") / "bert")


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Any:
    return load_tokenizer(path)


def test_what_transformers_gives(path: Path, tokenizer: Any) -> None:
    theirs = load_tokenizer(path)
    choices = random.Random(0)
    for _ in range(400):
        texts = [" ".join(choices.choices(WORDS, k=choices.randint(1, 12))) for _ in range(2)]
        whole = choices.choice([None, *range(3, 40)])
        side: Side = choices.choice(["start", "end"])
        one = choices.choice([texts[0], Pair(*texts)])
        theirs.truncation_side = "left" if side == "start" else "right"
        limits = {} if whole is None else {"truncation": "longest_first", "max_length": whole}
        wanted = theirs(*(texts if isinstance(one, Pair) else texts[:1]), **limits)
        types = wanted["token_type_ids"]
        second = types.index(1) if 1 in types else None
        [found] = encode_inputs(tokenizer, [one], Cut(whole, side=side))
        assert found == EncodedText(wanted["input_ids"], second)


def test_each_text_of_a_pair_has_its_own_bound(tokenizer: Any) -> None:
    pair = Pair("hello world how do I build", "hello world how do I build")
    [found] = encode_inputs(tokenizer, [pair], Cut(first=2, second=3))
    assert len(found.token_ids) == 3 + 2 + 3
    assert found.second == 4
    [whole] = encode_inputs(tokenizer, [pair], Cut())
    assert encode_inputs(tokenizer, [pair], Cut(first=100, second=100)) == [whole]


def test_token_ids_are_taken_as_they_are(tokenizer: Any) -> None:
    inputs: list[Input] = ["hello", [7, 8, 9]]
    text, ids = encode_inputs(tokenizer, inputs, Cut())
    assert (text.token_ids[0], text.token_ids[-1], ids.token_ids) == (BOS, EOS, [7, 8, 9])
    assert encode_inputs(tokenizer, [[7, 8, 9]], Cut(2))[0].token_ids == [7, 8]
    assert encode_inputs(tokenizer, [[7, 8, 9]], Cut(2, side="start"))[0].token_ids == [8, 9]


@pytest.mark.parametrize(
    ("sizes", "room", "kept"),
    [
        ((3, 4), 9, [3, 4]),
        ((3, 9), 8, [3, 5]),
        ((9, 3), 8, [5, 3]),
        ((9, 9), 7, [3, 4]),
        ((10, 9), 7, [4, 3]),
        ((5,), 3, [3]),
        ((5, 5), 0, [0, 0]),
    ],
)
def test_the_longer_text_loses_first(sizes: tuple[int, ...], room: int, kept: list[int]) -> None:
    assert fitting(sizes, room) == kept


def test_half_a_character_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InvalidRequest, match="surrogate"):
        encode_inputs(tokenizer, [Pair("a", "\ud800")], Cut())


def test_types_that_no_engine_follows_are_refused(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    inner = Tokenizer.from_file(str(path / "tokenizer.json"))
    inner.post_processor = processors.TemplateProcessing(
        single="$A <s>:2", pair="$A $B:1 <s>:2", special_tokens=[("<s>", BOS)]
    )
    tokenizer._tokenizer = inner
    with pytest.raises(UnsupportedFeature, match="marks the two texts"):
        encode_inputs(tokenizer, [Pair("a", "b")], Cut())
