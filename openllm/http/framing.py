"""How values become bytes: the framings of a stream; times, and the numbers that JSON cannot
say.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec

LEAST = -9999.0  # stands for minus infinity


@attrs.frozen
class Framing:
    """What stands around each value of a stream."""

    content_type: bytes
    before: bytes
    after: bytes
    comment: bytes = b""  # what readers pass over; empty: there is no such thing

    def frame(self, value: Any) -> bytes:
        """`value` as JSON, framed."""
        return self.before + msgspec.json.encode(value) + self.after


SSE = Framing(b"text/event-stream; charset=utf-8", b"data: ", b"\n\n", b": still here\n\n")
NDJSON = Framing(b"application/x-ndjson", b"", b"\n")


def finite(logprob: float) -> float:
    """`logprob`, or `LEAST` for what JSON cannot say."""
    return logprob if math.isfinite(logprob) else LEAST


def timestamp(seconds: float) -> str:
    """A time as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
