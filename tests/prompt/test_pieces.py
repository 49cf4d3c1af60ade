"""A text that is tokenized in remembered pieces has the ids of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from openllm.prompt.pieces import Pieces
from openllm.prompt.tokenizer import TextEncoder

LETTERS = "abcéA ▁\n"


def bytes_and_words() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, "ab", "Ġa", "abc"]
    made = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, [("a", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


def metaspace(scheme: str) -> Tokenizer:
    words = ["<unk>", "▁", *LETTERS, "▁a", "ab"]
    vocab = [(word, -float(at)) for at, word in enumerate(dict.fromkeys(words))]
    made = Tokenizer(models.Unigram(vocab, 0, False))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return made


def prepending() -> Tokenizer:
    """As Llama 2's: the normalizer writes the space before a text."""
    made = metaspace("never")
    parts = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    made.normalizer = normalizers.Sequence(parts)
    made.pre_tokenizer = None
    return made


def lower_case() -> Tokenizer:
    words = ["[UNK]", "[CLS]", "[SEP]", "a", "##b", "##c", "b", "c", "e"]
    made = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = (("[SEP]", 2), ("[CLS]", 1))
    made.post_processor = processors.BertProcessing(*ends)
    return made


MADE: dict[str, Callable[[], Tokenizer]] = {
    "bytes": bytes_and_words,
    "first": lambda: metaspace("first"),
    "always": lambda: metaspace("always"),
    "prepend": prepending,
    "lower": lower_case,
}
SPECIAL = [
    AddedToken("<s>", special=True, normalized=False),
    AddedToken("<s>>", special=True, normalized=False),  # the longer one wins
    AddedToken("<left>", special=True, normalized=False, lstrip=True),
    AddedToken("<right>", special=True, normalized=False, rstrip=True),
    AddedToken("a<s>", special=True, normalized=False),  # takes the start of another
    AddedToken("<Norm>", special=False, normalized=True, single_word=True),
]
WORD = AddedToken("<word>", special=True, normalized=False, single_word=True)


def whole(tokenizer: Tokenizer) -> Callable[[Sequence[str]], list[list[int]]]:
    def encode(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [list(encoding.ids) for encoding in found]

    return encode


@pytest.fixture(params=MADE, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    made = MADE[request.param]()
    made.add_tokens(SPECIAL)
    return made


contents = st.sampled_from([token.content for token in (*SPECIAL, WORD)])
texts = st.lists(st.one_of(st.text(LETTERS, max_size=6), contents)).map("".join)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("special", [SPECIAL, [*SPECIAL, WORD]], ids=["without_word", "with_word"])
def test_ids_are_those_of_the_whole_text(name: str, special: list[AddedToken]) -> None:
    tokenizer = MADE[name]()
    tokenizer.add_tokens(special)
    encode = whole(tokenizer)
    pieces = Pieces(tokenizer, encode, remembered=60)

    @settings(max_examples=50)
    @given(texts)
    def holds(text: str) -> None:
        assert pieces.ids(text) == encode([text])[0]
        assert pieces.ids(text) == encode([text])[0]

    holds()


def counted(tokenizer: Tokenizer) -> tuple[Callable[[Sequence[str]], list[list[int]]], list[str]]:
    asked: list[str] = []
    encode = whole(tokenizer)

    def count(texts: Sequence[str]) -> list[list[int]]:
        asked.extend(texts)
        return encode(texts)

    return count, asked


def test_only_what_is_new_is_tokenized(tokenizer: Tokenizer) -> None:
    encode, asked = counted(tokenizer)
    pieces = Pieces(tokenizer, encode)
    pieces.ids("<s>aa<s>bb")
    asked.clear()
    pieces.ids("<s>aa<s>bb")
    assert asked == []
    pieces.ids("<s>aa<s>bb<s>cc")
    assert asked == ["<s>cc"]


def test_what_is_remembered_is_bounded(tokenizer: Tokenizer) -> None:
    encode, asked = counted(tokenizer)
    pieces = Pieces(tokenizer, encode, remembered=80)
    long = "<s>" + "b" * 50
    for letter in "bac":
        for count in range(1, 7):
            pieces.ids("<s> " + letter * count)
    pieces.ids(long)
    asked.clear()
    pieces.ids("<s> cccccc<s> b" + long)
    assert asked == ["<s> b", long]  # forgotten, and too long to be kept


def test_a_tokenizer_that_looks_across_its_special_tokens_is_not_cut() -> None:
    """None is known that does; one that is told apart by the whole text would be."""
    tokenizer = bytes_and_words()
    tokenizer.add_tokens(SPECIAL)
    plain = whole(tokenizer)

    def by_length(texts: Sequence[str]) -> list[list[int]]:
        return [[*ids, len(text)] for ids, text in zip(plain(texts), texts, strict=True)]

    pieces = Pieces(tokenizer, by_length)
    assert pieces.ids("<s>aa<s>bb") == by_length(["<s>aa<s>bb"])[0]


@pytest.mark.parametrize("name", MADE)
def test_special_tokens_are_added_around_the_pieces(name: str) -> None:
    made = MADE[name]()
    made.add_tokens(SPECIAL)
    wrapped: Any = PreTrainedTokenizerFast(tokenizer_object=made)
    texts = TextEncoder(wrapped)
    for text in ("", "a", "<s>ab<s>", "ab c"):
        for add in (True, False):
            assert texts.ids(text, add) == wrapped.encode(text, add_special_tokens=add)
