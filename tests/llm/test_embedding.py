"""Texts that are too long for a model: cut at the side that is said, special tokens kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.config.spec import LLMSpec
from openllm.errors import ContextLengthExceeded, InvalidRequest
from openllm.llm.embedding import shortened
from openllm.llm.llm import LLM
from openllm.prompt.renderer import ChatRenderer
from openllm.prompt.tokenizer import load_tokenizer
from tests.serving import write_echo_model
from tests.tiny import BOS, write_tokenizer


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> ChatRenderer:
    path = write_tokenizer(tmp_path_factory.mktemp("tokenizer"), add_bos=True)
    return ChatRenderer(load_tokenizer(path))


def test_one_side_is_lost_and_the_special_tokens_stay(renderer: ChatRenderer) -> None:
    text = "hello world, how do I build it?"
    whole = renderer.encode(text)
    assert whole[0] == BOS
    for room in range(1, len(whole) + 1):
        start, end = (shortened(renderer, text, room, side) for side in ("start", "end"))
        assert start == [BOS, *whole[len(whole) - room + 1 :]][:room]
        assert end == whole[:room]


def test_token_ids_are_cut_as_they_are(renderer: ChatRenderer) -> None:
    assert shortened(renderer, [5, 6, 7], 2, "start") == [6, 7]
    assert shortened(renderer, [5, 6, 7], 2, "end") == [5, 6]


def test_a_long_text_is_an_error_unless_it_may_be_cut(tmp_path: Path) -> None:
    path = write_echo_model(tmp_path / "echo")
    spec = LLMSpec(model_id=str(path), backend="echo", max_model_len=16)
    with LLM(spec, weights_dir=path) as llm:
        text = "hello world " * 40
        with pytest.raises(ContextLengthExceeded):
            llm.run(llm.embed(text))
        with pytest.raises(InvalidRequest, match="truncate"):
            llm.run(llm.embed(text, truncate="middle"))  # type: ignore[arg-type]
        cut = llm.run(llm.embed([text, "hello"], truncate="end"))
        assert cut.usage.prompt_tokens == 16 + len(llm.renderer.encode("hello"))
        assert cut.vectors[0] != llm.run(llm.embed(text, truncate="start")).vectors[0]
