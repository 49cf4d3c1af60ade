"""What one key may use, by a clock that the tests set."""

from __future__ import annotations

import pytest

from openllm.errors import RateLimited
from openllm.http.keys.account import KeyAccount, KeyLimits


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_requests_are_let_in_up_to_a_minutes_worth_and_then_evenly() -> None:
    clock = Clock()
    account = KeyAccount(KeyLimits(requests_per_minute=3), clock)
    for _ in range(3):
        account.begin()
    with pytest.raises(RateLimited) as refused:
        account.begin()
    assert refused.value.retry_after == 20
    clock.now += 19
    with pytest.raises(RateLimited) as refused:
        account.begin()
    assert refused.value.retry_after == 1
    clock.now += 1
    account.begin()
    clock.now += 3600
    for _ in range(3):
        account.begin()
    with pytest.raises(RateLimited):
        account.begin()


def test_a_prompt_counts_when_it_is_admitted_and_an_answer_when_it_has_ended() -> None:
    clock = Clock()
    account = KeyAccount(KeyLimits(tokens_per_minute=600), clock)
    account.begin()
    account.admit(400)
    with pytest.raises(RateLimited) as refused:
        account.admit(210)
    assert refused.value.retry_after == 1
    account.admit(200)
    account.spend(100)
    with pytest.raises(RateLimited) as refused:
        account.begin()
    assert refused.value.retry_after == 11  # the overdraft, and one token more
    clock.now += 11
    account.begin()
    found = account.allowances().tokens
    assert found is not None
    assert (found.limit, found.remaining, found.reset) == (600, 10, 59)


def test_a_prompt_longer_than_a_minutes_worth_waits_for_a_full_minute() -> None:
    clock = Clock()
    account = KeyAccount(KeyLimits(tokens_per_minute=60), clock)
    account.admit(1)
    with pytest.raises(RateLimited) as refused:
        account.admit(1000)
    assert refused.value.retry_after == 1
    clock.now += 1
    account.admit(1000)
    clock.now += 900
    with pytest.raises(RateLimited):
        account.begin()


def test_other_limits_keep_what_has_been_used() -> None:
    account = KeyAccount(KeyLimits(requests_per_minute=10), Clock())
    for _ in range(4):
        account.begin()
    account.change(KeyLimits(requests_per_minute=5, tokens_per_minute=7))
    found = account.allowances()
    assert found.requests is not None
    assert found.tokens is not None
    assert (found.requests.remaining, found.tokens.remaining) == (1, 7)
    account.change(KeyLimits())
    for _ in range(20):
        account.begin()
    assert account.allowances().requests is None


def test_workers_share_a_limit() -> None:
    limits = KeyLimits(requests_per_minute=100, tokens_per_minute=None, max_requests=1)
    assert limits.shared(3) == KeyLimits(33, None, 1)
    assert limits.shared(1) == limits
