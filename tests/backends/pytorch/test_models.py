"""Greedy answers are transformers' own, for every shape of model, alone and in company."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from tests.backends.pytorch.conftest import ask, prompt_of, started

OVER_SLOTS = ["llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2", "mamba"]
ONE_BY_ONE = ["recurrent_gemma", "t5"]
MARGIN = 1e-3  # between the two best logits: closer is a tie, and after a tie answers may part
NEW = 20


def generate(path: Path, prompt: list[int]) -> tuple[list[int], list[float]]:
    """transformers' own greedy answer, and how clear each of its tokens was."""
    auto = AutoModelForSeq2SeqLM if path.name == "t5" else AutoModelForCausalLM
    # Gemma 2 caps its attention scores; transformers' sdpa does not.
    attention = "eager" if path.name == "gemma2" else None
    model = auto.from_pretrained(path, dtype=torch.float32, attn_implementation=attention).eval()
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    best = [logits[0].float().topk(2).values for logits in out.logits]
    return out.sequences[0, -NEW:].tolist(), [float(two[0] - two[1]) for two in best]


def assert_same(found: list[int], expected: tuple[list[int], list[float]]) -> None:
    for token, own, gap in zip(found, *expected, strict=True):
        if gap < MARGIN:
            return
        assert token == own


@pytest.mark.parametrize("name", OVER_SLOTS + ONE_BY_ONE)
async def test_greedy_answers_equal_generate(
    name: str, model: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = model(name)
    prompts = [prompt_of(length, seed) for seed, length in enumerate((3, 40, 21, 1))]
    with caplog.at_level(logging.INFO, "openllm"):
        async with started(path, engine_args={"prefill_tokens": 16}) as backend:
            alone = await ask(backend, prompts[1], max_tokens=NEW)
            together = await asyncio.gather(
                *(ask(backend, prompt, max_tokens=NEW) for prompt in prompts)
            )
    fell_back = any("one sequence at a time" in record.message for record in caplog.records)
    assert fell_back == (name in ONE_BY_ONE)
    assert_same(alone.tokens, generate(path, prompts[1]))
    for prompt, answer in zip(prompts, together, strict=True):
        assert_same(answer.tokens, generate(path, prompt))


@pytest.mark.parametrize("name", ONE_BY_ONE)
async def test_one_by_one_models_sample_stream_and_cancel(
    name: str, model: Callable[[str], Path]
) -> None:
    async with started(model(name)) as backend:
        sampled = {"temperature": 1.2, "seed": 4, "max_tokens": 8, "logprobs": 2}
        first, second = await asyncio.gather(
            ask(backend, prompt_of(9), **sampled), ask(backend, prompt_of(5))
        )
        again = await ask(backend, prompt_of(9), **sampled)
        assert first.tokens == again.tokens
        assert len(first.logprobs) == 8
        assert second.reason == "length"
