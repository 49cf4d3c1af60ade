"""Texts that are too long for a model: cut at the side that is said, special tokens kept."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from openllm.config.spec import LLMSpec
from openllm.errors import ContextLengthExceeded, InvalidRequest
from openllm.llm import embedding
from openllm.llm.embedding import shortened
from openllm.llm.llm import LLM
from openllm.prompt.renderer import ChatRenderer
from openllm.weights.modules import ModuleChain
from openllm.weights.tokenizer import load_tokenizer
from tests.serving import LONG_WAIT, write_echo_model
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


class HeldRenderer:
    """Encodes one text when it is told to, however many there are."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.over = threading.Event(), threading.Event(), threading.Event()
        self.encoded: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.encoded.append(text)
        self.begun.set()
        assert self.go_on.wait(LONG_WAIT)
        return [1]


async def test_texts_whose_sender_has_left_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renderer: Any = HeldRenderer()
    backend = mock.Mock(info=mock.Mock(max_model_len=16))
    read = embedding._token_prompts

    def watched(*args: Any) -> list[list[int]]:
        found = read(*args)
        renderer.over.set()
        return found

    monkeypatch.setattr(embedding, "_token_prompts", watched)
    model = mock.Mock(renderer=renderer, modules=ModuleChain())
    options = embedding.EmbedOptions()
    task = asyncio.create_task(embedding.embed(model, backend, ["a", "b", "c"], options))
    assert await asyncio.to_thread(renderer.begun.wait, LONG_WAIT)
    task.cancel()
    await asyncio.wait([task])
    renderer.go_on.set()
    assert await asyncio.to_thread(renderer.over.wait, LONG_WAIT)
    assert renderer.encoded == ["a"]
    backend.embed.assert_not_called()
