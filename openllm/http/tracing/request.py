"""The trace of one request: told to the client and the log, and given the spans of the request's
phases.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

if TYPE_CHECKING:
    from openllm.http.metrics import Meter


class RequestTrace:
    """The trace of one request, which goes on after the answer where the work does."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def parent(self) -> bytes:
        """What continues it (W3C Trace Context, section 3.2.2): version, trace, span, flags."""
        at = self._span.get_span_context()
        return b"00-%032x-%016x-%02x" % (at.trace_id, at.span_id, at.trace_flags)

    @property
    def ids(self) -> dict[str, str]:
        """For the log."""
        at = self._span.get_span_context()
        return {"trace_id": f"{at.trace_id:032x}", "span_id": f"{at.span_id:016x}"}

    def ran(self, meter: Meter) -> None:
        """An engine is done with the request: its tokens, and a span for each of its phases."""
        used: dict[str, AttributeValue] = {
            "gen_ai.usage.input_tokens": meter.prompt_tokens,
            "gen_ai.usage.output_tokens": meter.tokens,
            "gen_ai.response.finish_reasons": sorted(meter.finish_reasons),
        }
        if self._span.is_recording():  # a response in the background outlives its request
            self._span.set_attributes(used)
        context = trace.set_span_in_context(self._span)
        for name, begin, end in meter.phases.spans():
            phase = self._tracer.start_span(name, context, start_time=nanoseconds(begin))
            phase.end(nanoseconds(end))

    def end(self, name: str, status: int, attributes: Mapping[str, AttributeValue]) -> None:
        """The request has been answered with `status`."""
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def nanoseconds(moment: float) -> int:
    """A time of `time.perf_counter()` in nanoseconds since 1970."""
    return time.time_ns() - round((time.perf_counter() - moment) * 1e9)
