"""What one token is drawn from: filters, penalties, seeds, and log probabilities of the raw
logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from openllm.backends.sampler import Sampler, token_logprob
from openllm.types import SamplingParams

LOGITS = np.log(np.asarray([0.5, 0.2, 0.15, 0.1, 0.05], np.float32))
EOS = 0


def sampler(prompt: Sequence[int] = (4,), seed: int = 0, **params: Any) -> Sampler:
    return Sampler(SamplingParams(**params), prompt, (EOS,), seed)


def drawn(count: int = 3000, answer: Sequence[int] = (), **params: Any) -> np.ndarray:
    """Shares of each token in `count` draws."""
    one = sampler(**{"ignore_eos": True, **params})
    tokens = [one.pick(LOGITS, answer) for _ in range(count)]
    return np.bincount(tokens, minlength=LOGITS.size) / count


def test_plain_sampling_follows_the_softmax() -> None:
    assert np.abs(drawn(20_000) - np.exp(LOGITS)).max() < 0.015


def test_temperature_sharpens_and_flattens() -> None:
    squared = np.exp(LOGITS * 2)
    assert np.abs(drawn(20_000, temperature=0.5) - squared / squared.sum()).max() < 0.015


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_k": -1}, {0, 1, 2, 3, 4}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.5}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 1e-6}, {0}),
        ({"min_p": 0.25}, {0, 1, 2}),
        ({"min_p": 1.0}, {0}),
        ({"top_k": 3, "top_p": 0.8}, {0, 1}),  # of what top_k left
    ],
)
def test_filters_keep_the_best_and_nothing_else(params: dict[str, Any], kept: set[int]) -> None:
    assert set(drawn(**params).nonzero()[0]) == kept


def test_filters_keep_the_proportions_of_what_is_left() -> None:
    assert drawn(20_000, top_k=2)[0] == pytest.approx(0.5 / 0.7, abs=0.02)


def test_temperature_zero_takes_the_best_after_bias_and_penalties() -> None:
    assert sampler(temperature=0).pick(LOGITS, []) == 0
    assert sampler(temperature=0, logit_bias={3: 5.0}).pick(LOGITS, []) == 3
    assert sampler(temperature=0, logit_bias={0: -100.0}).pick(LOGITS, []) == 1
    assert sampler(temperature=0, presence_penalty=1.0).pick(LOGITS, [0]) == 1
    assert sampler(temperature=0, presence_penalty=0.5).pick(LOGITS, [0, 0, 0]) == 0
    assert sampler(temperature=0, frequency_penalty=0.5).pick(LOGITS, [0, 0, 0]) == 1


def test_repetition_penalty_counts_the_prompt_and_both_signs() -> None:
    logits = np.asarray([2.0, 1.5, -1.0, -1.2], np.float32)
    assert sampler(prompt=[0], temperature=0, repetition_penalty=2.0).pick(logits, []) == 1
    assert sampler(prompt=[3], temperature=0, repetition_penalty=2.0).pick(logits, [0]) == 1
    low = np.asarray([-1.0, -1.5], np.float32)
    assert sampler(prompt=[0], temperature=0, repetition_penalty=2.0).pick(low, []) == 1
    assert (
        sampler(prompt=[0], temperature=0, presence_penalty=2.0).pick(logits, []) == 0
    )  # the answer only


def test_min_tokens_hold_back_the_end_and_stop_tokens() -> None:
    one = sampler(temperature=0, min_tokens=2, stop_token_ids=(1,))
    assert [one.pick(LOGITS, answer) for answer in ([], [2], [2, 2])] == [2, 2, 0]


def test_a_seed_repeats_the_draws_whatever_its_sign_and_another_seed_does_not() -> None:
    flat = np.zeros(1000, np.float32)

    def draws(seed: int) -> list[int]:
        one = sampler(seed=seed)
        return [one.pick(flat, []) for _ in range(8)]

    assert draws(7) == draws(7)
    assert draws(-7) == draws(-7)
    assert len({tuple(draws(seed)) for seed in (7, -7, 8, 2**63 - 1)}) == 4


def test_a_tiny_change_of_the_logits_leaves_seeded_draws_alone() -> None:
    noise = np.random.default_rng(1).normal(0, 1e-6, 500).astype(np.float32)
    logits = np.random.default_rng(2).normal(0, 2, 500).astype(np.float32)
    first, second = sampler(seed=3), sampler(seed=3)
    assert [first.pick(logits, []) for _ in range(50)] == [
        second.pick(logits + noise, []) for _ in range(50)
    ]


def test_the_logits_are_left_as_they_were() -> None:
    logits = LOGITS.copy()
    sampler(logit_bias={1: 9.0}, min_tokens=3, presence_penalty=1.0).pick(logits, [1])
    assert (logits == LOGITS).all()


def test_log_probabilities_are_those_of_the_raw_logits() -> None:
    entry = token_logprob(LOGITS + 3, 2, 2)
    assert (entry.token_id, entry.rank) == (2, 3)
    assert entry.logprob == pytest.approx(np.log(0.15), abs=1e-6)
    assert [token for token, _ in entry.top] == [0, 1]
    assert [value for _, value in entry.top] == pytest.approx([np.log(0.5), np.log(0.2)], abs=1e-6)
    assert token_logprob(LOGITS, 0, 0).top == ()
    assert len(token_logprob(LOGITS, 0, 99).top) == LOGITS.size
    assert [token for token, _ in token_logprob(np.zeros(6, np.float32), 5, 3).top] == [0, 1, 2]


def test_nothing_is_drawn_but_what_is_allowed() -> None:
    shares = drawn(allowed_token_ids=(2, 4), logit_bias={1: 100.0})
    assert set(np.flatnonzero(shares)) == {2, 4}
    assert drawn(temperature=0, allowed_token_ids=(3, 4))[3] == 1


def test_a_run_that_is_not_wanted_is_never_completed() -> None:
    params = SamplingParams(temperature=0, ignore_eos=True)
    one = Sampler(params, (4,), (EOS,), 0, bad=((0,), (3, 2, 1)))
    assert one.pick(LOGITS, ()) == 1
    assert one.pick(LOGITS, (3, 2)) == 2
    assert one.pick(LOGITS, (2,)) == 1
