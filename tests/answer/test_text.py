"""Decoding and stop strings do not depend on how tokens are cut into deltas."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.text import StopMatcher, StreamDecoder
from openllm.types import AnswerDelta, SamplingParams, TokenDelta, TokenLogprob
from tests.tiny import EOS, write_tokenizer

TEXTS = st.text(st.sampled_from("ab<|>\n é漢🙂"), max_size=40)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(
        str(write_tokenizer(tmp_path_factory.mktemp("tokenizer")) / "tokenizer.json")
    )


@given(text=TEXTS)
def test_decoded_pieces_are_the_text(tokenizer: Any, text: str) -> None:
    decoder = StreamDecoder(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = [decoder.step(token) for token in ids]
    assert "".join(pieces) + decoder.flush() == tokenizer.decode(ids)
    assert all("\ufffd" not in piece for piece in pieces)


@settings(max_examples=60)
@given(ids=st.lists(st.integers(6, 300), max_size=30))
def test_any_bytes_decode_to_something_and_nothing_is_held_for_ever(
    tokenizer: Any, ids: list[int]
) -> None:
    decoder = StreamDecoder(tokenizer)
    for token in ids:
        decoder.step(token)
        assert len(decoder._pending) <= 4
    decoder.flush()
    assert decoder.flush() == ""


def test_the_prompt_gives_the_first_token_its_space(tokenizer: Any) -> None:
    prompt, answer = (
        tokenizer.encode("hello").ids,
        tokenizer.encode(" world", add_special_tokens=False).ids,
    )
    decoder = StreamDecoder(tokenizer, prompt)
    assert "".join(decoder.step(token) for token in answer) + decoder.flush() == " world"


def feed_all(stops: list[str], pieces: list[str]) -> tuple[str, str | None]:
    matcher, said = StopMatcher(stops), ""
    for piece in pieces:
        text, stop = matcher.feed(piece)
        said += text
        if stop is not None:
            return said, stop
    return said + matcher.flush(), None


@given(
    text=TEXTS,
    stops=st.lists(st.text("ab<|>", min_size=1, max_size=4), min_size=1, max_size=3),
    data=st.data(),
)
def test_what_stops_a_text_does_not_depend_on_the_cuts(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)) | {0, len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(cuts)]
    said, stop = feed_all(stops, pieces)
    assert (said, stop) == feed_all(stops, list(text))
    if stop is None:
        assert said == text
        assert not any(item in text for item in stops)
    else:
        assert text.startswith(said + stop)


def test_text_before_a_possible_stop_is_held_back_and_released() -> None:
    matcher = StopMatcher(["END"])
    assert matcher.feed("an E") == ("an ", None)
    assert matcher.feed("N") == ("", None)
    assert matcher.feed("tity") == ("ENtity", None)


def assemble(tokenizer: Any, deltas: list[TokenDelta], **params: Any) -> list[AnswerDelta]:
    choice = ChoiceAssembler(tokenizer, SamplingParams(**params), [], frozenset({EOS}))
    out = []
    for delta in deltas:
        out.append(choice.feed(delta))
        if choice.finished:
            break
    return out


@given(data=st.data())
def test_a_stop_inside_joined_tokens_cuts_tokens_text_and_logprobs(
    tokenizer: Any, data: st.DataObject
) -> None:
    ids = tokenizer.encode("one two stop three", add_special_tokens=False).ids
    cut = data.draw(st.integers(0, len(ids)))
    scores = [TokenLogprob(token, -0.5) for token in ids]
    deltas = [
        TokenDelta(ids[:cut], logprobs=scores[:cut]),
        TokenDelta(ids[cut:], 0, "length", logprobs=scores[cut:]),
    ]
    out = assemble(tokenizer, deltas, stop=("stop",), logprobs=0)
    assert "".join(d.text for d in out) == "one two "
    assert [d.finish_reason for d in out][-1] == "stop"
    assert out[-1].stop_reason == "stop"
    tokens = [t for d in out for t in d.token_ids]
    assert "stop" in tokenizer.decode(tokens)
    assert "stop" not in tokenizer.decode(tokens[:-1])
    assert sum(len(d.logprobs or []) for d in out) == len(tokens)


def test_the_end_token_has_no_text_unless_the_stop_is_kept(tokenizer: Any) -> None:
    ids = [*tokenizer.encode("hi", add_special_tokens=False).ids, EOS]
    delta = [TokenDelta(ids, 0, "stop")]
    assert assemble(tokenizer, delta, skip_special_tokens=False)[0].text == "hi"
    assert (
        assemble(tokenizer, delta, skip_special_tokens=False, include_stop=True)[0].text == "hi</s>"
    )
    assert assemble(tokenizer, [TokenDelta(ids[:-1], 0, "stop")])[0].text == "hi"


def test_no_stop_string_before_min_tokens(tokenizer: Any) -> None:
    ids = tokenizer.encode("aXaXaX", add_special_tokens=False).ids
    out = assemble(
        tokenizer,
        [TokenDelta([t]) for t in ids] + [TokenDelta([], 0, "length")],
        stop=("X",),
        min_tokens=3,
    )
    assert "".join(d.text for d in out) == "aXa"
