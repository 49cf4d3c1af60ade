"""What one server counts, in Prometheus' words: requests and tokens as they pass, engine figures at
each scrape.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from openllm.http.engine_figures import EngineFigures
from openllm.http.keys.caller import NOBODY, Caller
from openllm.http.limits import Ticket
from openllm.http.phases import PhaseFigures, Phases
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
_BORN = "_created"  # samples that say when counting began: nobody reads them
_STARTED = "process_start_time_seconds"  # of several processes the first counts


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
        "_caller",
        "_gaps",
        "_last",
        "_metrics",
        "_model",
        "_started",
        "_ticket",
        "finish_reasons",
        "first_token",
        "phases",
        "prompt_tokens",
        "tokens",
    )

    def __init__(
        self, metrics: Metrics, model: str, started: float, ticket: Ticket, caller: Caller
    ) -> None:
        self._ticket = ticket
        self._caller = caller
        self.prompt_tokens = ticket.tokens  # of all prompts
        self._metrics = metrics
        self._model = model
        self._started = started
        self._gaps = metrics.gaps[model]
        self._last: dict[int, float] = {}
        self.first_token: float | None = None  # when it came, as time.perf_counter() counts
        self.phases = Phases()
        self.tokens = 0  # that have come
        self.finish_reasons: list[str] = []  # of the choices that have ended

    def count(self, delta: AnswerDelta, base: int = 0) -> None:
        """Note when a delta passed; `base` tells apart the choices of several prompts."""
        if delta.finish_reason is not None:
            self.finish_reasons.append(delta.finish_reason)
            self._metrics.phases.ended(self._model, delta.finish_reason)
        tokens = len(delta.token_ids)
        self.tokens += tokens
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
            self.phases.first_token = now
            self._ticket.leave()
            self._metrics.child(self._metrics.first_token, self._model).observe(now - self._started)

    def close(self, usages: Iterable[Usage]) -> None:
        """Add up what the request used."""
        self._ticket.leave()
        if self.first_token is not None:
            self.phases.last_token = max(self._last.values())
        prompt = answer = 0
        for usage in usages:
            prompt += usage.prompt_tokens
            answer += usage.completion_tokens
        self._metrics.used(self._model, self._caller, prompt, answer)
        self._metrics.phases.over(self._model, self.phases, prompt, answer)
        if self._caller.account is not None:
            self._caller.account.spend(answer)


class Metrics:
    """One server's registry. Label `model` holds names of base models only, and `key` the names
    that the operator has given, so that callers cannot make new ones.
    """

    def __init__(self, llms: Sequence[LLM]) -> None:
        registry = self._own = _Registry()
        self._engines = _Registry()
        self.phases = PhaseFigures(registry)
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
        self.key_requests = Counter(
            "openllm_key_requests", "Requests answered, by key.", ("key",), registry=registry
        )
        self.key_prompt_tokens = Counter(
            "openllm_key_prompt_tokens", "Prompt tokens, by key.", ("key",), registry=registry
        )
        self.key_completion_tokens = Counter(
            "openllm_key_completion_tokens",
            "Generated tokens, by key.",
            ("key",),
            registry=registry,
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
        ProcessCollector(registry=registry)
        self._engines.register(EngineFigures(llms))

    def finished(
        self, model: str, route: str, status: int, seconds: float, caller: Caller = NOBODY
    ) -> None:
        """A request has been answered."""
        if caller.name:
            self.child(self.key_requests, caller.name).inc()
        self.child(self.requests, model, route, str(status)).inc()
        self.child(self.request_seconds, model, route).observe(seconds)

    def used(self, model: str, caller: Caller, prompt: int, answer: int = 0) -> None:
        """Count the tokens of a request that is over."""
        self.child(self.prompt_tokens, model).inc(prompt)
        self.child(self.completion_tokens, model).inc(answer)
        if caller.name:
            self.child(self.key_prompt_tokens, caller.name).inc(prompt)
            self.child(self.key_completion_tokens, caller.name).inc(answer)

    def register(self, figures: Collector) -> None:
        """Have `figures` on the page, too; those of processes behind one port are added up."""
        self._own.register(figures)

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


class _Registry(CollectorRegistry):
    """One whose page has no `_created` beside each counter and histogram."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            family.samples = [one for one in family.samples if not one.name.endswith(_BORN)]
            yield family


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
    """Counters, histograms and gauges added up, sample by sample; of the times of start the
    earliest counts.
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
            elif sample.name == _STARTED:
                values[key] = min(values[key], sample.value)
            else:
                values[key] += sample.value

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            merged = Metric(name, family.documentation, family.type)
            for (sample, labels), value in self._values[name].items():
                merged.add_sample(sample, dict(labels), value)
            yield merged
