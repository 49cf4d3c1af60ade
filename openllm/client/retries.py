"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime

import attrs

from openllm.errors import ConfigurationError

# The server has done nothing yet, or a proxy could not reach it.
PASSING = frozenset({429, 502, 503, 504})
# A 503 that no waiting mends.
LASTING = frozenset({"engine_dead"})


@attrs.frozen
class Retries:
    """How often a request is sent again that the server, or a proxy before it, could not take.

    The n-th wait is `first` * 2^(n-1) seconds at the most and half of it at the least, drawn at
    random so that many clients do not come back at once. A Retry-After header replaces it; where
    that, too, is more than `longest` seconds, the error comes at once.
    """

    count: int = 2
    first: float = 0.5
    longest: float = 60.0

    def __attrs_post_init__(self) -> None:
        if self.count < 0 or self.first < 0 or self.longest < 0:
            raise ConfigurationError(
                f"retries must not be negative, got {self}.", hint="0 sends each request once."
            )

    def pause(self, done: int, retry_after: str | None) -> float | None:
        """Seconds to wait before another try, after `done` retries; None: no more of them."""
        if done >= self.count:
            return None
        asked = seconds_of(retry_after)
        if asked is not None:
            return asked if asked <= self.longest else None
        return float(min(self.longest, self.first * 2**done) * random.uniform(0.5, 1.0))


def seconds_of(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After header means: a number of them, or a date (RFC 9110, section
    10.2.3). None where it is absent or makes no sense.
    """
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds and seconds != float("inf") else None
