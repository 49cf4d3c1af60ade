"""What one server counts, in Prometheus' words: requests and tokens as they pass, engine figures at
each scrape.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from openllm.http.limits import Ticket
from openllm.types import AnswerDelta, Usage

if TYPE_CHECKING:
    from openllm.llm.llm import LLM

MetricOf = TypeVar("MetricOf", Counter, Histogram)
CONTENT_TYPE = b"text/plain; version=1.0.0; charset=utf-8"
FIRST_TOKEN_SECONDS = (
    0.005,
    0.01,
    0.02,
    0.04,
    0.08,
    0.16,
    0.32,
    0.64,
    1.28,
    2.56,
    5.12,
    10.24,
    20.48,
    40.96,
)
TOKEN_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.2,
    0.4,
    0.8,
    1.6,
    3.2,
)
REQUEST_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_BORN = "_created"  # samples that say when counting began

# name without its unit's suffix -> (EngineStats field, what it is, whether it only grows)
_ENGINE: Sequence[tuple[str, str, str, bool]] = (
    ("openllm_requests_running", "running", "Choices being prefilled or decoded.", False),
    ("openllm_requests_waiting", "waiting", "Requests admitted and not begun.", False),
    ("openllm_cache_usage_ratio", "cache_usage", "Share of the KV cache in use.", False),
    ("openllm_prefix_cache_hits", "prefix_hits", "Prompt tokens taken from a cache.", True),
    (
        "openllm_prefix_cache_queries",
        "prefix_queries",
        "Prompt tokens looked up in the prefix cache.",
        True,
    ),
    ("openllm_preemptions", "preemptions", "Requests put back to make room.", True),
)


class TokenGaps:
    """Times between tokens of one model as a histogram: plain lists, since it is fed once per
    delta.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(TOKEN_SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float, tokens: int) -> None:
        """`tokens` came together after `seconds`."""
        self.counts[bisect_left(TOKEN_SECONDS, seconds / tokens)] += tokens
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them."""
        bounds = [*map(str, TOKEN_SECONDS), "+Inf"]
        return [
            (bound, float(count))
            for bound, count in zip(bounds, accumulate(self.counts), strict=True)
        ]


class Meter:
    """Counts one request's deltas. `close` once, whatever became of it."""

    __slots__ = (
        "_gaps",
        "_last",
        "_metrics",
        "_model",
        "_started",
        "_ticket",
        "first_token",
        "prompt_tokens",
    )

    def __init__(self, metrics: Metrics, model: str, started: float, ticket: Ticket) -> None:
        self._ticket = ticket
        self.prompt_tokens = ticket.tokens  # of all prompts
        self._metrics = metrics
        self._model = model
        self._started = started
        self._gaps = metrics.gaps[model]
        self._last: dict[int, float] = {}
        self.first_token: float | None = None  # when it came, as time.perf_counter() counts

    def count(self, delta: AnswerDelta, base: int = 0) -> None:
        """Note when a delta passed; `base` tells apart the choices of several prompts."""
        tokens = len(delta.token_ids)
        if not tokens:
            return
        now = time.perf_counter()
        index = base + delta.index
        last = self._last.get(index)
        self._last[index] = now
        if last is not None:
            self._gaps.add(now - last, tokens)
        elif self.first_token is None:
            self.first_token = now
            self._ticket.leave()
            self._metrics.child(self._metrics.first_token, self._model).observe(now - self._started)

    def close(self, usages: Iterable[Usage]) -> None:
        """Add up what the request used."""
        self._ticket.leave()
        for usage in usages:
            self._metrics.child(self._metrics.prompt_tokens, self._model).inc(usage.prompt_tokens)
            self._metrics.child(self._metrics.completion_tokens, self._model).inc(
                usage.completion_tokens
            )


class Metrics:
    """One server's registry. Label `model` holds names of base models only, so that callers cannot
    make new ones.
    """

    def __init__(self, llms: Sequence[LLM]) -> None:
        registry = self._own = CollectorRegistry()
        self._engines = CollectorRegistry()
        self._children: dict[tuple[Counter | Histogram, tuple[str, ...]], Counter | Histogram] = {}
        self.gaps = {llm.name: TokenGaps() for llm in llms}
        self.requests = Counter(
            "openllm_requests",
            "Requests answered.",
            ("model", "route", "status"),
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "openllm_prompt_tokens", "Prompt tokens.", ("model",), registry=registry
        )
        self.completion_tokens = Counter(
            "openllm_completion_tokens", "Generated tokens.", ("model",), registry=registry
        )
        self.first_token = Histogram(
            "openllm_time_to_first_token_seconds",
            "From the request's arrival to its first token.",
            ("model",),
            registry=registry,
            buckets=FIRST_TOKEN_SECONDS,
        )
        self.request_seconds = Histogram(
            "openllm_request_seconds",
            "From a request's arrival to the end of its answer.",
            ("model", "route"),
            registry=registry,
            buckets=REQUEST_SECONDS,
        )
        registry.register(_Gaps(self.gaps))
        self._engines.register(_EngineFigures(llms))

    def finished(self, model: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self.child(self.requests, model, route, str(status)).inc()
        self.child(self.request_seconds, model, route).observe(seconds)

    def child(self, metric: MetricOf, *labels: str) -> MetricOf:
        """`metric.labels(...)`, which takes a lock and converts its arguments each time,
        remembered.
        """
        found = self._children.get((metric, labels))
        if found is None:
            found = self._children[metric, labels] = metric.labels(*labels)
        return cast("MetricOf", found)

    def report(self) -> bytes:
        """What this process has counted; the engines' own figures are not in it."""
        return generate_latest(self._own)

    def render(self, others: Sequence[bytes] = ()) -> bytes:
        """The page that Prometheus scrapes; `others` are the reports of the processes that share
        the port.
        """
        own = self.report()
        return (merge_pages([own, *others]) if others else own) + generate_latest(self._engines)


class _EngineFigures(Collector):
    """Reads the engines when asked; an engine that has not started has no figures."""

    def __init__(self, llms: Sequence[LLM]) -> None:
        self._llms = llms

    def collect(self) -> Iterator[Metric]:
        readings = [(llm.name, llm.stats()) for llm in self._llms if llm.started]
        for name, field, meaning, grows in _ENGINE:
            kind = CounterMetricFamily if grows else GaugeMetricFamily
            family = kind(name, meaning, labels=["model"])
            for model, stats in readings:
                family.add_metric([model], float(getattr(stats, field)))
            yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not read the engines."""
        return iter(())


class _Gaps(Collector):
    """The times between tokens, kept in plain lists."""

    def __init__(self, gaps: dict[str, TokenGaps]) -> None:
        self._gaps = gaps

    def collect(self) -> Iterator[Metric]:
        histogram = HistogramMetricFamily(
            "openllm_inter_token_seconds", "Between two tokens of one choice.", labels=["model"]
        )
        for model, gaps in self._gaps.items():
            histogram.add_metric([model], gaps.buckets(), gaps.total)
        yield histogram


def merge_pages(pages: Sequence[bytes]) -> bytes:
    """Counters and histograms added up, sample by sample; of the times of creation the earliest
    counts.
    """
    registry = CollectorRegistry()
    registry.register(_Sum(pages))
    return generate_latest(registry)


class _Sum(Collector):
    def __init__(self, pages: Sequence[bytes]) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for page in pages:
            for family in text_string_to_metric_families(page.decode()):
                self._add(family)

    def _add(self, family: Metric) -> None:
        self._families.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            if key not in values:
                values[key] = sample.value
            elif sample.name.endswith(_BORN):
                values[key] = min(values[key], sample.value)
            else:
                values[key] += sample.value

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample, labels), value in self._values[name].items():
                merged.add_sample(sample, dict(labels), value)
            yield merged
