"""Embeddings equal transformers' hidden states, pooled as the model's files say; generation goes on
meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from openllm.errors import InvalidRequest, UnsupportedFeature
from tests import tiny
from tests.backends.pytorch.conftest import ask, prompt_of, started

PROMPTS = [prompt_of(length, length) for length in (7, 1, 30, 12, 7)]


def states_of(path: Path, prompt: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return (
            AutoModel.from_pretrained(path, dtype=torch.float32)
            .eval()(torch.tensor([prompt]))
            .last_hidden_state[0]
        )


POOLED = {
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "last": lambda states: states[-1],
}


def assert_pooled(path: Path, found: list[list[float]], how: str) -> None:
    for prompt, vector in zip(PROMPTS, found, strict=True):
        torch.testing.assert_close(
            torch.tensor(vector), POOLED[how](states_of(path, prompt)), atol=2e-4, rtol=1e-3
        )


@pytest.mark.parametrize(
    ("stored", "asked", "how"),
    [
        ("mean", None, "mean"),
        ("cls", None, "cls"),
        (None, None, "mean"),
        ("cls", "last", "last"),
        ("mean", "cls", "cls"),
    ],
)
async def test_an_encoder_is_pooled_as_its_files_say(
    tmp_path: Path, stored: str | None, asked: str | None, how: str
) -> None:
    path = tiny.write_encoder(tmp_path / "encoder", pooling=stored)
    async with started(path, task="embed") as backend:
        found = await backend.embed(PROMPTS, asked)
        assert found.prompt_tokens == sum(map(len, PROMPTS))
        assert_pooled(path, found.vectors, how)
        assert backend.info.max_model_len == 128


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
async def test_a_decoder_gives_its_last_token_beside_generation(
    name: str, model: Callable[[str], Path]
) -> None:
    async with started(model(name)) as backend:
        answering = asyncio.ensure_future(ask(backend, prompt_of(5), max_tokens=100))
        found = await backend.embed(PROMPTS)
        assert_pooled(model(name), found.vectors, "last")
        assert_pooled(model(name), (await backend.embed(PROMPTS, "mean")).vectors, "mean")
        assert len((await answering).tokens) == 100


async def test_a_decoder_for_embedding_only(llama: Path) -> None:
    async with started(llama, task="embed") as backend:
        assert_pooled(llama, (await backend.embed(PROMPTS)).vectors, "last")
        with pytest.raises(UnsupportedFeature):
            await ask(backend, prompt_of(3))
        with pytest.raises(UnsupportedFeature):
            await backend.mount_adapter("it", llama)
        assert (backend.failure, backend.stats().running) == (None, 0)


@pytest.mark.parametrize(
    ("prompts", "pooling"),
    [([[]], None), ([[9999]], None), ([[-1]], None), ([[6] * 129], None), ([[6]], "median")],
)
async def test_bad_inputs_are_refused(
    tmp_path: Path, prompts: list[list[int]], pooling: str | None
) -> None:
    async with started(tiny.write_encoder(tmp_path / "encoder"), task="embed") as backend:
        with pytest.raises(InvalidRequest):
            await backend.embed(prompts, pooling)
        assert (await backend.embed([])).vectors == []


async def test_an_encoder_decoder_has_no_embeddings(model: Callable[[str], Path]) -> None:
    async with started(model("t5")) as backend:
        with pytest.raises(UnsupportedFeature):
            await backend.embed([prompt_of(4)])
        with pytest.raises(UnsupportedFeature):
            await ask(backend, prompt_of(4), prompt_logprobs=1)
