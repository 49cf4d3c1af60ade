"""Prompts with images on the PyTorch engine answer as transformers' processor and `generate()` do,
beside texts and each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.backends.pytorch.backend import PyTorchBackend
from openllm.backends.pytorch.forward.flat import FlatExecutor
from openllm.backends.pytorch.forward.seeing import SeeingExecutor, next_position
from openllm.backends.pytorch.sequence import Sequence as Sequence_
from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature
from openllm.media.decoding import ImageLimits, decode, digest
from openllm.media.processor import load_processor
from openllm.types import Image, PromptImages, TokenRequest
from openllm.weights.tokenizer import load_tokenizer
from tests import seeing
from tests.backends.pytorch.architectures import MARGIN
from tests.backends.pytorch.conftest import Answer, ask_all, request, started

NEW = 8
# One of each way to look: positions on three axes; these and states; plain; an image in parts;
# attention in both directions, and windows.
KINDS = ("qwen2_vl", "qwen3_5", "llava", "idefics3", "gemma3")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = seeing.write_seeing(kind, tmp_path_factory.mktemp("seeing") / kind)
        return made[kind]

    return make


@attrs.frozen
class Asked:
    """A prompt, and what transformers answers to it."""

    request: TokenRequest
    tokens: list[int]
    gaps: list[float]

    def again(self, **params: Any) -> TokenRequest:
        return attrs.evolve(self.request, params=attrs.evolve(self.request.params, **params))

    def check(self, answer: Answer) -> None:
        assert answer.error is None
        clear = next((at for at, gap in enumerate(self.gaps) if gap < MARGIN), NEW)
        assert answer.tokens[:clear] == self.tokens[:clear]


def asked(kind: str, path: Path, words: Sequence[str], files: Sequence[bytes]) -> Asked:
    """`words` with an image behind each but the last; `files` may be fewer, for a text alone."""
    mark = seeing.WRITTEN.get(kind, seeing.MARKS[kind][0])
    text = (mark if files else "").join(words)
    tokenizer = load_tokenizer(path)
    inputs = seeing.inputs(kind, path, text, files)
    own = seeing.answer(kind, path, inputs, NEW)
    ids = inputs["input_ids"][0].tolist()
    images = None
    if files:
        limits = ImageLimits.of(Settings())
        pixels = decode([Image("")] * len(files), files, limits)
        looked = load_processor(path, tokenizer).look(text, pixels)
        assert looked.token_ids == ids
        marked = tokenizer.encode(text, add_special_tokens=False)
        images = PromptImages(
            tuple(files), digest(files), text, marked, looked.end, len(ids), looked.features
        )
    return Asked(attrs.evolve(request(ids, max_tokens=NEW), images=images), *own)


@pytest.mark.parametrize("kind", KINDS)
async def test_images_and_texts_are_answered_together(kind, checkpoint):
    path = checkpoint(kind)
    words = ("<s><|user|>look ", " what is it?</s><|assistant|>")
    several = [
        asked(kind, path, words, [seeing.picture(1)]),
        asked(kind, path, words, [seeing.picture(2)]),
        asked(
            kind,
            path,
            ("<s>", " or ", " then</s>"),
            [seeing.picture(3), seeing.picture(4, (90, 40))],
        ),
        asked(kind, path, ("<s><|user|>a text alone</s><|assistant|>",), []),
    ]
    async with started(path) as backend:
        executor = executor_of(backend)
        assert isinstance(executor, SeeingExecutor)
        assert executor.alone is None  # beside all others
        assert backend.info.images
        found = await asyncio.gather(*(ask_all(backend, one.request) for one in several))
        for one, (answer,) in zip(several, found, strict=True):
            one.check(answer)
            assert answer.cached == 0  # the same text with another image shares nothing
        for one in several:  # and with the same image everything
            (answer,) = await ask_all(backend, one.again())
            one.check(answer)
            assert answer.cached == len(one.request.prompt_token_ids) - 1
        # in a process of its own an engine has the files alone
        sent = attrs.evolve(several[2].request.images, features=None, key="sent")
        for answer in await ask_all(backend, attrs.evolve(several[2].again(n=2), images=sent)):
            several[2].check(answer)


async def test_prompt_logprobs_are_of_the_whole_prompt(checkpoint):
    path = checkpoint("llava")
    words = ("<s><|user|>look ", " what is it?</s><|assistant|>")
    one = asked("llava", path, words, [seeing.picture(1)])
    async with started(path) as backend:
        (answer,) = await ask_all(backend, one.again(prompt_logprobs=1))
        one.check(answer)
        assert answer.prompt_logprobs is not None
        told = [entry.token_id for entry in answer.prompt_logprobs[1:]]
        assert told == one.request.prompt_token_ids[1:]


async def test_a_row_that_gave_way_looks_again(checkpoint, monkeypatch):
    path = checkpoint("qwen2_vl")
    words = ("<s><|user|>look ", " what is it?</s><|assistant|>")
    one = asked("qwen2_vl", path, words, [seeing.picture(1)])
    full: list[bool] = []

    def extend(self: SeeingExecutor, sequence: Sequence_) -> bool:
        """Say once, in the midst of the answer, that there is no room."""
        if sequence.generated == NEW // 2 and not full:
            full.append(True)
            return False
        return FlatExecutor.extend(self, sequence)

    monkeypatch.setattr(SeeingExecutor, "extend", extend)
    async with started(path, enable_prefix_caching=False) as backend:
        (answer,) = await ask_all(backend, one.request)
        one.check(answer)
        assert backend.stats().preemptions == 1


async def test_one_at_a_time_where_slots_do_not_give_the_answer(checkpoint, monkeypatch):
    """A position that is wrong is seen at start, and the model's own cache is used."""
    monkeypatch.setattr(
        "openllm.backends.pytorch.forward.seeing.next_position", lambda _, count: count + 7
    )
    path = checkpoint("qwen2_vl")
    words = ("<s><|user|>look ", " what is it?</s><|assistant|>")
    one = asked("qwen2_vl", path, words, [seeing.picture(1)])
    text = asked("qwen2_vl", path, ("<s><|user|>a text alone</s><|assistant|>",), [])
    async with started(path) as backend:
        assert executor_of(backend).alone is not None
        assert backend.info.images
        found = await asyncio.gather(*(ask_all(backend, each.request) for each in (one, text, one)))
        for each, (answer,) in zip((one, text, one), found, strict=True):
            each.check(answer)


async def test_a_model_of_texts_says_so(llama):
    images = PromptImages((seeing.picture(),), "key", "", [5], 2, 4)
    async with started(llama) as backend:
        assert not backend.info.images
        with pytest.raises(UnsupportedFeature, match="text only"):
            backend.check(attrs.evolve(request([1, 5, 5, 6]), images=images))


def test_text_goes_on_behind_the_greatest_position():
    import torch

    assert next_position(None, 5) == 5
    assert next_position(torch.tensor([[0, 1, 2]]), 3) == 3
    axes = torch.tensor([[[0, 1, 1, 1]], [[0, 1, 1, 2]], [[0, 1, 2, 1]]])
    assert next_position(axes, 4) == 3
    assert next_position(torch.cat([torch.arange(4)[None, None], axes]), 4) == 3


def executor_of(backend: PyTorchBackend) -> Any:
    return backend._started.require_engine()._parts.executor  # type: ignore[union-attr]
