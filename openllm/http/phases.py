"""What each request took in its phases and how long its texts were, as histograms; why its answers
ended.

The phases are vLLM's: waiting until the engine begins (queue), until the first token (prefill),
from there to the last (decode). An engine that does not say when it begins has no first two.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import attrs
from prometheus_client import CollectorRegistry, Counter, Histogram

from openllm.types import FinishReason

PHASE_SECONDS = (
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    320.0,
    640.0,
)
# 1, 2, 5, 10, ... 100,000: tokens
LENGTHS = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))[:-2]


@attrs.define
class Phases:
    """When one request passed from one phase to the next, as `time.perf_counter()` counts; None:
    not yet, or not known.
    """

    admitted: float = attrs.field(factory=time.perf_counter)
    begun: float | None = None
    first_token: float | None = None
    last_token: float | None = None

    def note_begun(self, begun: float) -> None:
        """Its engine began with it then, as `time.monotonic()` counts, which processes share."""
        self.begun = begun - time.monotonic() + time.perf_counter()

    def spans(self) -> Iterable[tuple[str, float, float]]:
        """The phases that it has had, and when each began and ended."""
        begun, first, last = self.begun, self.first_token, self.last_token
        if begun is not None and first is not None:
            begun = min(max(begun, self.admitted), first)
            yield "queue", self.admitted, begun
            yield "prefill", begun, first
        if first is not None and last is not None:
            yield "decode", first, last

    def seconds(self) -> Iterable[tuple[str, float]]:
        """The same, and how long each took."""
        return ((name, end - begin) for name, begin, end in self.spans())


class PhaseFigures:
    """The histograms of one server, by model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, meaning, ("model",), registry=registry, buckets=buckets)

        self._phases = {
            "queue": histogram(
                "openllm_queue_seconds",
                "From a request's admission until its engine began with it.",
                PHASE_SECONDS,
            ),
            "prefill": histogram(
                "openllm_prefill_seconds",
                "From there to a request's first token.",
                PHASE_SECONDS,
            ),
            "decode": histogram(
                "openllm_decode_seconds",
                "From a request's first token to its last.",
                PHASE_SECONDS,
            ),
        }
        self._prompt = histogram(
            "openllm_request_prompt_tokens", "Prompt tokens of a request.", LENGTHS
        )
        self._answer = histogram(
            "openllm_request_completion_tokens", "Generated tokens of a request.", LENGTHS
        )
        self._ends = Counter(
            "openllm_finish_reasons",
            "Choices that have ended, by reason.",
            ("model", "finish_reason"),
            registry=registry,
        )
        self._adapters = Counter(
            "openllm_adapter_requests",
            "Requests that used an adapter.",
            ("model", "adapter"),
            registry=registry,
        )

    def ended(self, model: str, reason: FinishReason) -> None:
        """A choice has."""
        self._ends.labels(model, reason).inc()

    def over(self, model: str, phases: Phases, prompt: int, answer: int) -> None:
        """A request is, of so many tokens."""
        for name, seconds in phases.seconds():
            self._phases[name].labels(model).observe(seconds)
        self._prompt.labels(model).observe(prompt)
        self._answer.labels(model).observe(answer)

    def used(self, model: str, adapter: str) -> None:
        """A request has begun with `adapter`."""
        self._adapters.labels(model, adapter).inc()
