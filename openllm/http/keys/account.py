"""What one key may use and has used: requests and tokens a minute, requests at once.

Both rates are token buckets (ITU-T I.371): each holds a minute's worth when full and fills evenly.
A prompt is taken when it is admitted, an answer when it has ended; since nobody knows an answer's
length before, a bucket can be overdrawn, and then admits nothing until it has filled above zero.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import attrs

from openllm.errors import RateLimited

MINUTE = 60.0
Clock = Callable[[], float]


@attrs.frozen
class KeyLimits:
    """Bounds of one key; None: no bound."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_requests: int | None = None  # at once

    def shared(self, workers: int) -> KeyLimits:
        """The part of each of `workers` processes that count for themselves; at least 1."""

        def part(limit: int | None) -> int | None:
            return None if limit is None else max(1, limit // workers)

        return KeyLimits(
            part(self.requests_per_minute), part(self.tokens_per_minute), part(self.max_requests)
        )


@attrs.frozen
class Allowance:
    """How one rate stands."""

    limit: int  # a minute
    remaining: int
    reset: float  # seconds until all of it is there again


@attrs.frozen
class Allowances:
    """How a key's rates stand; None where it has no such limit."""

    requests: Allowance | None = None
    tokens: Allowance | None = None

    def known(self) -> Iterator[tuple[bytes, Allowance]]:
        """Those it has, each with what it counts: b"requests", b"tokens"."""
        for what, rate in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if rate is not None:
                yield what, rate


class Bucket:
    """A rate: `limit` a minute, and a minute's worth at once."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at = now

    def level(self, now: float) -> float:
        """What is there; below zero when overdrawn."""
        self._level += (now - self._at) * self.limit / MINUTE
        self._level = min(self._level, float(self.limit))
        self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` is there, to the millisecond; more than a minute's worth counts as
        one.
        """
        missing = min(amount, float(self.limit)) - self.level(now)
        return max(0.0, round(missing * MINUTE / self.limit, 3))

    def take(self, amount: float, now: float) -> None:
        """Take `amount`, whether it is there or not."""
        self._level = self.level(now) - amount

    def resized(self, limit: int, now: float) -> Bucket:
        """A bucket of another size from which as much has been taken."""
        other = Bucket(limit, now)
        other.take(self.limit - self.level(now), now)
        return other

    def allowance(self, now: float) -> Allowance:
        level = self.level(now)
        reset = (self.limit - level) * MINUTE / self.limit
        return Allowance(self.limit, max(0, math.floor(level)), reset)


class KeyAccount:
    """One key's. It stays the same while the file of keys is read again."""

    def __init__(self, limits: KeyLimits, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.limits = KeyLimits()
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.change(limits)

    def change(self, limits: KeyLimits) -> None:
        """Other limits from now on; what has been used counts against them."""
        now = self._clock()
        self.limits = limits
        self._requests = _changed(self._requests, limits.requests_per_minute, now)
        self._tokens = _changed(self._tokens, limits.tokens_per_minute, now)

    def begin(self) -> None:
        """Count a request that has come. Errors: RateLimited, and then it is not counted."""
        now = self._clock()
        if self._tokens is not None and self._tokens.level(now) <= 0:
            raise self._too_many_tokens(self._tokens, 1, now)
        if self._requests is not None:
            if wait := self._requests.wait(1, now):
                limit = self._requests.limit
                raise RateLimited(
                    f"This key may send {limit} requests a minute.",
                    hint=f"Try again in {math.ceil(wait)} s.",
                    retry_after=math.ceil(wait),
                )
            self._requests.take(1, now)

    def admit(self, tokens: int) -> None:
        """Count the tokens of a prompt. One that is longer than a minute's worth waits for a full
        minute, else it could never be answered. Errors: RateLimited, and then they are not counted.
        """
        if self._tokens is not None:
            now = self._clock()
            if self._tokens.wait(tokens, now):
                raise self._too_many_tokens(self._tokens, tokens, now)
            self._tokens.take(tokens, now)

    def spend(self, tokens: int) -> None:
        """Count tokens that are used already: those of an answer."""
        if self._tokens is not None:
            self._tokens.take(tokens, self._clock())

    def allowances(self) -> Allowances:
        """How it stands now."""
        now = self._clock()
        return Allowances(
            None if self._requests is None else self._requests.allowance(now),
            None if self._tokens is None else self._tokens.allowance(now),
        )

    def _too_many_tokens(self, bucket: Bucket, tokens: int, now: float) -> RateLimited:
        wait = max(1, math.ceil(bucket.wait(tokens, now)))
        return RateLimited(
            f"This key may use {bucket.limit} tokens a minute.",
            hint=f"Try again in {wait} s.",
            retry_after=wait,
        )


def _changed(bucket: Bucket | None, limit: int | None, now: float) -> Bucket | None:
    if limit is None:
        return None
    if bucket is None or bucket.limit == limit:
        return bucket or Bucket(limit, now)
    return bucket.resized(limit, now)
