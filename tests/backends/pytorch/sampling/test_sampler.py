"""Sampling: each row by its own parameters, whatever the batch; filters and penalties as everybody
defines them.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from openllm.backends.pytorch.sampling import logits as maths
from openllm.backends.pytorch.sampling.logprobs import describe
from tests.backends.pytorch.conftest import ask, prompt_of, started

VARIED: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.8},
    {"temperature": 1.3, "top_k": 7},
    {"temperature": 1.1, "min_p": 0.05},
    {"temperature": 0.9, "top_k": 40, "top_p": 0.5, "repetition_penalty": 1.3},
    {"temperature": 1.5, "presence_penalty": 1.0, "frequency_penalty": 0.5},
    {
        "temperature": 1.0,
        "logit_bias": {9: 4.0, 11: -100.0},
        "min_tokens": 6,
        "stop_token_ids": (9,),
    },
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 1.8, "logprobs": 2},
]


async def test_a_seed_gives_the_same_answer_in_any_company(llama: Path) -> None:
    async with started(llama) as backend:
        asked = [{**params, "seed": 100 + at, "max_tokens": 15} for at, params in enumerate(VARIED)]
        alone = [await ask(backend, prompt_of(11, at), **params) for at, params in enumerate(asked)]
        together = await asyncio.gather(
            *(ask(backend, prompt_of(11, at), **params) for at, params in enumerate(asked))
        )
        for one, other in zip(alone, together, strict=True):
            assert one.tokens == other.tokens
        assert 9 not in together[6].tokens[:5]
        assert 11 not in together[6].tokens


async def test_without_a_seed_answers_differ_and_the_engines_seed_repeats_them(llama: Path) -> None:
    async def some(seed: int | None) -> list[list[int]]:
        async with started(llama, seed=seed) as backend:
            return [(await ask(backend, prompt_of(5), temperature=1.5)).tokens for _ in range(3)]

    first, again, other = await some(7), await some(7), await some(None)
    assert first == again != other
    assert len({tuple(tokens) for tokens in first}) == 3


async def test_logprobs_are_of_the_raw_distribution(llama: Path) -> None:
    async with started(llama) as backend:
        plain = await ask(backend, prompt_of(9), logprobs=3, max_tokens=4)
        bend = {"temperature": 0.5, "seed": 1, "logit_bias": {plain.tokens[0]: -100.0}}
        bent = await ask(backend, prompt_of(9), logprobs=3, max_tokens=4, **bend)
        assert bent.tokens[0] != plain.tokens[0]
        assert bent.logprobs[0].rank > 1
        assert dict(bent.logprobs[0].top) == pytest.approx(dict(plain.logprobs[0].top))
        assert plain.logprobs[0].rank == 1
        assert len(plain.logprobs) == 4


async def test_prompt_logprobs_come_once_whatever_the_chunks(llama: Path) -> None:
    answers = []
    for chunk in (4, 256):
        async with started(llama, engine_args={"prefill_tokens": chunk}) as backend:
            answers.append(await ask(backend, prompt_of(33), prompt_logprobs=2, n=1))
            again = await ask(backend, prompt_of(33), prompt_logprobs=0)
            assert again.cached == 0  # they must be computed, not skipped
            assert again.prompt_logprobs is not None
            assert again.prompt_logprobs[1].top == ()
    for answer in answers:
        assert answer.prompt_logprobs is not None
        assert len(answer.prompt_logprobs) == 33
        assert [entry.token_id for entry in answer.prompt_logprobs[1:]] == prompt_of(33)[1:]
    first, second = ([e.logprob for e in a.prompt_logprobs[1:]] for a in answers)
    assert first == pytest.approx(second, abs=1e-4)


def random_logits(rows: int, vocabulary: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * 3


def column(values: list[Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)[:, None]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.lists(
        st.tuples(st.integers(1, 3000), st.floats(0.05, 1.0), st.sampled_from([0.0, 0.02, 0.3])),
        min_size=1,
        max_size=5,
    ),
)
def test_truncation_keeps_what_transformers_keeps(
    seed: int, rows: list[tuple[int, float, float]]
) -> None:
    vocabulary = 2500
    scores = random_logits(len(rows), vocabulary, seed)
    top_k, top_p, min_p = zip(*rows, strict=True)
    found = maths.truncate(
        scores,
        column([min(k, vocabulary) for k in top_k], torch.long),
        column(top_p),
        column(min_p),
    )
    for at, (k, p, least) in enumerate(rows):
        row = scores[at : at + 1]
        if least:
            row = MinPLogitsWarper(least)(None, row)
        row = TopKLogitsWarper(min(k, vocabulary))(None, row)
        expected = TopPLogitsWarper(p)(None, row) if p < 1 else row
        kept, own = found[at] > -math.inf, expected[0] > -math.inf
        # Where the running sum meets p within rounding, tokens of hardly any weight may differ.
        assert float(torch.softmax(scores[at], -1)[kept != own].sum()) < 1e-4
        assert bool(kept[scores[at].argmax()])


def test_penalties_are_openais_and_transformers() -> None:
    scores = random_logits(2, 50, 0)
    prompt, answer = [3, 4, 4], [7, 7, 8]
    counts = torch.bincount(torch.tensor(answer), minlength=50).float().repeat(2, 1)
    seen = (torch.bincount(torch.tensor(prompt), minlength=50) > 0).repeat(2, 1)
    found = maths.penalise(scores, counts, seen, torch.tensor([[1.7, 0.0, 0.0], [1.0, 0.25, 0.5]]))
    ids = torch.tensor([prompt + answer])
    expected = RepetitionPenaltyLogitsProcessor(1.7)(ids, scores[:1].clone())
    torch.testing.assert_close(found[:1], expected)
    lowered = scores[1].clone()
    lowered[7] -= 0.25 * 2 + 0.5
    lowered[8] -= 0.25 + 0.5
    torch.testing.assert_close(found[1], lowered)


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -math.inf, 0.5]).repeat(20_000, 1)
    chances = maths.uniform(np.arange(20_000, dtype=np.uint64), np.zeros(20_000, dtype=np.uint64))
    counts = (
        torch.bincount(maths.draw(logits, torch.from_numpy(chances)[:, None]), minlength=5) / 20_000
    )
    torch.testing.assert_close(counts, torch.softmax(logits[0], -1), atol=0.015, rtol=0)
    assert counts[3] == 0


def test_the_uniform_numbers_are_uniform_and_below_one() -> None:
    chances = maths.uniform(
        np.full(100_000, 2**64 - 1, dtype=np.uint64), np.arange(100_000, dtype=np.uint64)
    )
    assert 0 <= chances.min() < 1e-3
    assert 0.999 < chances.max() < 1
    assert abs(chances.mean() - 0.5) < 0.01
    assert len(np.unique(chances)) > 98_000


def test_the_ends_of_the_chance_never_draw_an_impossible_token() -> None:
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]])
    assert maths.draw(logits, torch.tensor([[0.0]])).item() == 1
    assert maths.draw(logits, torch.tensor([[1 - 2.0**-23]])).item() == 2


def test_ranks_count_the_better_ones() -> None:
    described = describe(torch.tensor([[3.0, 1.0, 2.0]]), [1], [2])
    assert described[0].rank == 3
    assert [token for token, _ in described[0].top] == [0, 2]
