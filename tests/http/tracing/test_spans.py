"""Traces of requests as a collector gets them: their phases, whose trace they continue, and what is
not in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="the exporter of traces is not installed"
)

from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider

from openllm.client import Client
from openllm.config.settings import Settings, process_environment
from openllm.http.tracing.provider import tracing_from
from tests.collector import Collector, Span, collecting
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE[::-1]}-{PARENT}-00"
CHAT = "/v1/chat/completions"
KEY = {"authorization": "Bearer secretkey"}
BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "SECRETPROMPT hello"}],
    "max_tokens": 5,
}
SERVER = 2  # a span's kind
VARIABLES = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=blue",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=chat,deployment.environment.name=test",
    "OTEL_PYTHON_EXCLUDED_URLS": "tokenize$",
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def traced(echo_model: Path, collector: Collector) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        tracing = tracing_from(process_environment())
    settings = Settings(api_key="secretkey")
    with serve(echo_llm(echo_model), settings=settings, tracing=tracing) as found:
        yield found


def ask(traced: Running, path: str = CHAT, **more: Any) -> httpx.Response:
    headers = KEY | more.pop("headers", {})
    with traced.client(headers=headers) as client:
        return client.post(path, json=BODY | more)


def spans_of(collector: Collector, answer: httpx.Response) -> dict[str, Span]:
    """By name, once the phases and the request that they belong to have come."""
    trace_id = answer.headers["traceparent"].split("-")[1]
    found = collector.wait(lambda span: span.trace_id == trace_id, 4)
    return {span.name: span for span in found}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_a_span_and_its_phases_are_within(
    traced: Running, collector: Collector, stream: bool
) -> None:
    answer = ask(traced, stream=stream)
    found = spans_of(collector, answer)
    request = found.pop(f"POST {CHAT}")
    assert sorted(found) == ["decode", "prefill", "queue"]
    assert (request.kind, request.parent_id, request.failed) == (SERVER, "", False)
    assert {span.parent_id for span in found.values()} == {request.span_id}
    queue, prefill, decode = found["queue"], found["prefill"], found["decode"]
    times = [request.begin, queue.begin, queue.end, prefill.end, decode.end, request.end]
    slack = 200_000  # nanoseconds: each is counted back from now
    assert all(first <= second + slack for first, second in pairwise(times))
    said = request.attributes
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == CHAT
    assert said["openllm.request_id"] == answer.headers["x-request-id"]
    assert said["openllm.key"] == "user"
    assert said["gen_ai.request.model"] == "echo"
    assert said["gen_ai.usage.output_tokens"] == 5
    assert said["gen_ai.usage.input_tokens"] > 0
    assert said["gen_ai.response.finish_reasons"] == ["length"]


def test_the_collector_gets_what_the_variables_say(traced: Running, collector: Collector) -> None:
    [span] = [span for span in spans_of(collector, ask(traced)).values() if span.kind == SERVER]
    assert span.resource["service.name"] == "chat"
    assert span.resource["deployment.environment.name"] == "test"
    assert collector.headers[0]["x-tenant"] == "blue"
    assert collector.headers[0]["content-encoding"] == "gzip"


def test_a_trace_is_continued_and_told(traced: Running, collector: Collector) -> None:
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "user=SECRETBAGGAGE"}
    answer = ask(traced, headers=headers)
    request = spans_of(collector, answer)[f"POST {CHAT}"]
    assert (request.trace_id, request.parent_id) == (TRACE, PARENT)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert answer.headers["traceresponse"] == answer.headers["traceparent"]
    assert "baggage" not in answer.headers


@pytest.mark.parametrize(
    "header",
    ["", "00", "00-xyz-1-01", "ff-" + SAMPLED[3:], f"00-{'0' * 32}-{PARENT}-01", SAMPLED * 50],
)
def test_a_parent_that_is_none_begins_a_trace(traced: Running, header: str) -> None:
    headers = {"traceparent": header, "tracestate": ",=,;" * 20, "baggage": "%%%=;;,=" * 20}
    answer = ask(traced, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["traceparent"].split("-")[1] not in ("0" * 32, TRACE)


def test_an_error_is_told_by_its_status(traced: Running, collector: Collector) -> None:
    answer = ask(traced, temperature=-1)
    trace_id = answer.headers["traceparent"].split("-")[1]
    [span] = collector.wait(lambda span: span.trace_id == trace_id)
    assert span.attributes["http.response.status_code"] == 400
    assert (span.attributes["error.type"], span.failed) == ("400", False)


def test_what_is_not_sampled_or_wanted_is_not_sent(traced: Running, collector: Collector) -> None:
    unsampled = ask(traced, headers={"traceparent": UNSAMPLED})
    assert unsampled.headers["traceparent"].startswith(f"00-{TRACE[::-1]}-")
    assert unsampled.headers["traceparent"].endswith("-00")
    with traced.client(headers=KEY) as client:
        assert "traceparent" not in client.get("/metrics").headers
        excluded = client.post("/tokenize", json={"prompt": "hello"})
        assert (excluded.status_code, "traceparent" in excluded.headers) == (200, False)
    spans_of(collector, ask(traced))  # which came after them
    assert all(span.trace_id != TRACE[::-1] for span in collector.spans)
    assert not {"GET /metrics", "POST /tokenize"} & {span.name for span in collector.spans}


def test_nothing_that_was_said_is_sent(traced: Running, collector: Collector) -> None:
    answer = ask(traced, headers={"baggage": "user=SECRETBAGGAGE"})
    spans_of(collector, answer)
    for secret in (b"SECRETPROMPT", b"SECRETBAGGAGE", b"secretkey"):
        assert secret not in collector.raw


def test_our_client_continues_its_callers_trace(traced: Running, collector: Collector) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("caller") as span, Client(traced.url, key="secretkey") as us:
        us.generate("hello", max_tokens=2)
    mine = span.get_span_context()
    trace_id = f"{mine.trace_id:032x}"
    [request] = collector.wait(lambda found: found.trace_id == trace_id and found.kind == SERVER)
    assert request.parent_id == f"{mine.span_id:016x}"
    assert trace.get_current_span(context.Context()) is trace.INVALID_SPAN


def test_the_log_names_the_trace(
    traced: Running, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    server = traced.server
    quiet = server.settings
    server.settings = Settings(log_format="json")
    try:
        with caplog.at_level("INFO", "openllm.http.app"):
            answer = ask(traced)
            spans_of(collector, answer)
    finally:
        server.settings = quiet
    [fields] = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert json.loads(json.dumps(fields))["trace_id"] in answer.headers["traceparent"]
