"""What a level of load has shown: the figures of one level, and of a whole run as it is saved.

Times are as vLLM's benchmark takes them: to the first event with something in it (TTFT), between
such events (ITL), and from the first token to the last over the tokens but one (TPOT).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec

from openllm.cli.bench.drive import Driven
from openllm.cli.bench.load import Level
from openllm.cli.bench.stream import Exchanged
from openllm.errors import ConfigurationError

LIMITS = ("ttft", "tpot", "e2e")
MILLISECONDS = 1e3
BUSY = 0.85  # of a core: more, and the load generator may be what is measured


@attrs.frozen
class Spread:
    """How times are spread, in milliseconds."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        if not seconds:
            return cls()
        ordered = sorted(seconds)
        p50, p90, p99 = (MILLISECONDS * percentile(ordered, share) for share in (0.5, 0.9, 0.99))
        return cls(MILLISECONDS * sum(ordered) / len(ordered), p50, p90, p99)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, between two in proportion (numpy's way)."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@attrs.frozen
class Figures:
    """One level of load, summed up; the failed requests are in `errors` alone."""

    level: str  # as it is called in tables
    streams: int | None
    rate: float | None  # requests per second; None: a closed loop; infinite ones are -1
    requests: int
    completed: int
    errors: dict[str, int]  # how often which
    seconds: float  # from the first request to the last event
    prompt_tokens: int
    output_tokens: int
    tokens_per_event: float
    requests_per_second: float
    output_tokens_per_second: float
    total_tokens_per_second: float
    ttft_ms: Spread
    itl_ms: Spread
    tpot_ms: Spread
    e2e_ms: Spread
    goodput: float | None = None  # requests per second that kept all limits; None: there are none
    good_share: float | None = None  # of all requests
    late_ms_p99: float = 0.0  # how long after their time requests left, in an open loop
    engine_share: float | None = None  # of the requests' time: that the engine had them
    generator_busy: float = 0.0  # of a core, the busiest process of the load generator


@attrs.frozen
class BenchRun:
    """A whole run, as it is saved and compared."""

    endpoint: str
    model: str
    made: str  # when, ISO 8601
    openllm: str  # the version of this program
    load: dict[str, Any]
    limits_ms: dict[str, float]
    levels: list[Figures]


def summed(
    level: Level,
    driven: Sequence[Driven],
    limits: Mapping[str, float],
    engine_seconds: float | None = None,
) -> Figures:
    """The figures of a level; `limits` in milliseconds."""
    everything = [each for share in driven for each in share.exchanged]
    good = [each for each in everything if not each.error]
    begun = min((each.sent for each in everything), default=0.0)
    seconds = max((each.last for each in good), default=begun) - begun
    rate = (lambda amount: amount / seconds) if seconds > 0 else (lambda amount: 0.0)
    tokens = sum(each.tokens for each in good)
    prompts = sum(each.prompt_tokens for each in good)
    whole = [each.last - each.sent for each in good]
    kept = sum(_keeps(each, limits) for each in good) if limits else None
    return Figures(
        level=level.name,
        streams=level.streams,
        rate=-1.0 if level.rate == float("inf") else level.rate,
        requests=len(everything),
        completed=len(good),
        errors=dict(Counter(each.error for each in everything if each.error).most_common()),
        seconds=seconds,
        prompt_tokens=prompts,
        output_tokens=tokens,
        tokens_per_event=tokens / max(sum(1 + len(each.gaps) for each in good), 1),
        requests_per_second=rate(len(good)),
        output_tokens_per_second=rate(tokens),
        total_tokens_per_second=rate(tokens + prompts),
        ttft_ms=Spread.of([each.first - each.sent for each in good]),
        itl_ms=Spread.of([gap for each in good for gap in each.gaps]),
        tpot_ms=Spread.of([_per_token(each) for each in good if each.tokens > 1]),
        e2e_ms=Spread.of(whole),
        goodput=None if kept is None else rate(kept),
        good_share=None if kept is None else kept / max(len(everything), 1),
        late_ms_p99=Spread.of([each.late for each in everything]).p99,
        engine_share=None if not engine_seconds or not whole else engine_seconds / sum(whole),
        generator_busy=max((share.busy for share in driven), default=0.0),
    )


def _per_token(each: Exchanged) -> float:
    return (each.last - each.first) / (each.tokens - 1) if each.tokens > 1 else 0.0


def _keeps(each: Exchanged, limits: Mapping[str, float]) -> bool:
    """Whether a request kept every limit."""
    took = {
        "ttft": each.first - each.sent,
        "tpot": _per_token(each),
        "e2e": each.last - each.sent,
    }
    return all(MILLISECONDS * took[name] <= most for name, most in limits.items())


def read_run(path: Path) -> BenchRun:
    """A run that was saved. Errors: ConfigurationError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=BenchRun)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} is no run of a benchmark: {error}.",
            hint="Write one with `openllm bench -o json > FILE`, or --save FILE.",
        ) from None


def check_new_file(path: Path) -> None:
    """Errors: ConfigurationError for a path at which no file can be written, before a run is
    lost for it.
    """
    if not path.parent.is_dir():
        raise _unwritable(path, "its directory is not there")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _unwritable(path, "that is not permitted")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, a file is written. Errors: ConfigurationError where the disk does not take it."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error.strerror or type(error).__name__) from None


def _unwritable(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written: {why}.", hint="Name another file.")
