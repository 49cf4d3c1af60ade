"""Layers made products: the model's own forward pass goes on, with every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from openllm import LLM
from openllm.backends.pytorch.linear.layers import is_linear
from openllm.errors import ConfigurationError, UnsupportedCombination
from tests.backends.pytorch.conftest import ask, prompt_of, started

OFF = {"fused_forward": False, "pack_weights": False}


@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3", "gpt2"])
@pytest.mark.parametrize("quantization", [None, "int8"])
async def test_the_model_computes_what_it_did(
    name: str, quantization: str | None, model: Callable[[str], Path]
) -> None:
    """By its own pass, which nothing but embedding uses while the fused one computes."""
    ids = torch.tensor([prompt_of(12), prompt_of(12, 1)])
    async with (
        started(model(name), engine_args=OFF) as before,
        started(model(name), quantization=quantization) as after,
    ):
        with torch.inference_mode():
            expected, found = (
                backend.load_model()(ids).logits.float() for backend in (before, after)
            )
        kinds = {type(module) for module in after.load_model().modules()}
    off = float((found - expected).norm() / expected.norm())
    assert off < (1e-4 if quantization is None else 0.15)
    assert not kinds & {torch.nn.Linear, Conv1D}


async def test_weights_are_held_once(llama: Path) -> None:
    """What was packed is let go of; int8 leaves no table of numbers in fp32 but the norms."""
    async with started(llama) as plain, started(llama, quantization="int8") as small:
        sizes = [
            sum(one.numel() for one in backend.load_model().parameters())
            for backend in (plain, small)
        ]
    table, norms = 384 * 64, 5 * 64
    assert sizes == [table + norms, norms]


async def test_int8_answers_do_not_depend_on_the_batch(llama: Path) -> None:
    prompts = [prompt_of(length, length) for length in (3, 40, 21, 9)]
    async with started(llama, quantization="int8", engine_args={"prefill_tokens": 16}) as backend:
        alone = [await ask(backend, prompt, max_tokens=16, logprobs=0) for prompt in prompts]
        again = await asyncio.gather(
            *(ask(backend, prompt, max_tokens=16, logprobs=0) for prompt in prompts)
        )
    for one, other in zip(alone, again, strict=True):
        assert one.tokens == other.tokens
        for first, second in zip(one.logprobs, other.logprobs, strict=True):
            assert first.logprob == pytest.approx(second.logprob, abs=1e-4)


async def test_int8_is_refused_where_it_cannot_be(model: Callable[[str], Path]) -> None:
    with pytest.raises(UnsupportedCombination, match="decoders and encoders"):
        await LLM(str(model("t5")), backend="pytorch", quantization="int8").start()


async def test_layers_whose_weights_the_model_reads_stay_as_they_are(
    model: Callable[[str], Path],
) -> None:
    async with started(model("mamba"), quantization="int8") as backend:
        layers = dict(backend.load_model().named_modules())
        names = {name.rpartition(".")[2] for name, kind in layers.items() if is_linear(kind)}
        assert "dt_proj" in names
        assert "in_proj" not in names
        assert (await ask(backend, prompt_of(9))).reason == "length"


@pytest.mark.parametrize("name", ["fused_forward", "pack_weights"])
async def test_a_switch_is_true_or_false(name: str, llama: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be true or false"):
        await LLM(str(llama), backend="pytorch", engine_args={name: "perhaps"}).start()


async def test_an_encoder_in_int8_embeds_nearly_the_same(model: Callable[[str], Path]) -> None:
    path = model("encoder")
    async with (
        started(path, task="embed") as before,
        started(path, task="embed", quantization="int8") as after,
    ):
        one, other = [
            torch.tensor((await backend.embed([prompt_of(9)])).vectors[0])
            for backend in (before, after)
        ]
    assert torch.cosine_similarity(one, other, dim=0) > 0.98
