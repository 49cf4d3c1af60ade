"""/metrics: what was asked and answered is counted once, under the same names whatever the
engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

import openllm
from openllm.config.settings import Settings
from openllm.http.app import create_app
from openllm.http.metrics import Metrics, TokenGaps, merge_pages
from openllm.http.phases import Phases
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

MODEL = {"model": "echo"}


@pytest.fixture
def fresh(echo_model: Path) -> Iterator[Running]:
    with serve(echo_llm(echo_model)) as found:
        yield found


def scrape(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return samples(answer.content)


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_and_requests_are_counted(fresh: Running, stream: bool) -> None:
    body = {"prompt": ["hello world", "hello"], "n": 2, "max_tokens": 3, "stream": stream}
    with fresh.client() as client:
        usage = client.post("/v1/completions", json={**body, "stream": False}).json()["usage"]
        client.post("/v1/completions", json=body)
        found = scrape(client)
    assert value(found, "openllm_prompt_tokens_total", **MODEL) == 2 * usage["prompt_tokens"]
    assert (
        value(found, "openllm_completion_tokens_total", **MODEL) == 2 * usage["completion_tokens"]
    )
    route = {"route": "/v1/completions", **MODEL}
    assert value(found, "openllm_requests_total", status="200", **route) == 2
    assert value(found, "openllm_request_seconds_count", **route) == 2
    assert value(found, "openllm_time_to_first_token_seconds_count", **MODEL) == 2
    gaps = usage["completion_tokens"] - 4  # each of the four choices has one gap less than tokens
    assert value(found, "openllm_inter_token_seconds_count", **MODEL) == 2 * gaps
    assert value(found, "openllm_inter_token_seconds_bucket", le="+Inf", **MODEL) == 2 * gaps
    for phase in ("queue", "prefill", "decode"):
        assert value(found, f"openllm_{phase}_seconds_count", **MODEL) == 2
    lengths = "openllm_request_{}_tokens_sum"
    assert value(found, lengths.format("prompt"), **MODEL) == 2 * usage["prompt_tokens"]
    assert value(found, lengths.format("completion"), **MODEL) == 2 * usage["completion_tokens"]
    ends = [count for (name, _), count in found.items() if name == "openllm_finish_reasons_total"]
    assert sum(ends) == 2 * 4


def test_engine_figures_have_one_set_of_names(fresh: Running) -> None:
    with fresh.client() as client:
        found = scrape(client)
    for name in (
        "openllm_requests_running",
        "openllm_requests_waiting",
        "openllm_cache_usage_ratio",
        "openllm_prefix_cache_hits_total",
        "openllm_prefix_cache_queries_total",
        "openllm_preemptions_total",
    ):
        assert value(found, name, **MODEL) == 0


def test_the_page_says_what_runs_and_has_no_times_of_creation(fresh: Running) -> None:
    with fresh.client() as client:
        client.post("/v1/completions", json={"prompt": "hello"})
        found = scrape(client)
    names = {name for name, _ in found}
    assert not [name for name in names if name.endswith("_created")]
    assert {"process_resident_memory_bytes", "process_open_fds"} <= names
    assert found["openllm_adapters_mounted", (("model", "echo"),)] == 0
    (build,) = [dict(labels) for name, labels in found if name == "openllm_build_info"]
    assert build["version"] == openllm.__version__
    (model,) = [dict(labels) for name, labels in found if name == "openllm_model_info"]
    assert (model["model"], model["backend"]) == ("echo", "echo")


def test_phases_follow_each_other() -> None:
    """Their clocks are two: an engine in another process knows only the one that both share."""
    phases = Phases(admitted=time.perf_counter() - 3.0)
    assert dict(phases.seconds()) == {}
    phases.note_begun(time.monotonic() - 2.0)
    phases.first_token = time.perf_counter() - 0.5
    phases.last_token = phases.first_token + 0.25
    found = dict(phases.seconds())
    assert found["queue"] == pytest.approx(1.0, abs=0.1)
    assert found["prefill"] == pytest.approx(1.5, abs=0.1)
    assert found["decode"] == 0.25
    unknown = Phases(first_token=1.0, last_token=2.0)
    assert dict(unknown.seconds()) == {"decode": 1.0}


def test_labels_do_not_grow_with_what_callers_invent(fresh: Running) -> None:
    with fresh.client() as client:
        for at in range(5):
            client.get(f"/nope/{at}")
            client.get(f"/v1/models/nope-{at}")
            client.post("/v1/completions", json={"model": f"nope-{at}", "prompt": "a"})
        found = scrape(client)
    requests = {
        labels: count for (name, labels), count in found.items() if name == "openllm_requests_total"
    }
    assert len(requests) == 3
    assert set(requests.values()) == {5}
    assert value(found, "openllm_requests_total", model="", route="other", status="404") == 5


def test_probes_are_not_counted(fresh: Running) -> None:
    with fresh.client() as client:
        client.get("/livez")
        client.get("/readyz")
        assert "livez" not in client.get("/metrics").text


def test_two_servers_in_one_process_count_apart(fresh: Running, client: httpx.Client) -> None:
    client.post("/v1/completions", json={"prompt": "hello"})
    with fresh.client() as own:
        assert "openllm_prompt_tokens_total{" not in own.get("/metrics").text


def test_gaps_are_counted_in_their_buckets() -> None:
    gaps = TokenGaps()
    gaps.add(0.004, 1)
    gaps.add(0.04, 10)  # ten tokens that came together: each took a tenth
    gaps.add(100.0, 1)
    buckets = dict(gaps.buckets())
    assert buckets["0.0025"] == 0
    assert buckets["0.005"] == 11
    assert buckets["3.2"] == 11
    assert buckets["+Inf"] == 12
    assert gaps.total == pytest.approx(100.044)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_after_the_last_byte_was_answered(
    echo_model: Path, stream: bool
) -> None:
    """HTTP servers report a disconnect as soon as an answer is complete, while it is still being
    tidied up.
    """
    server = create_app([echo_llm(echo_model)], Settings())
    await server.start()
    body = msgspec.json.encode({"prompt": "hello", "max_tokens": 2, "stream": stream})
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    complete = asyncio.Event()

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            complete.set()
            for _ in range(5):
                await asyncio.sleep(0)  # whoever waits for the disconnect hears of it now

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/completions",
        "query_string": b"",
        "headers": [],
    }
    await server(scope, receive, send)
    await server.close()
    report = server.metrics.report().decode()
    assert 'status="200"' in report
    assert 'status="499"' not in report


# Several processes behind one port: their pages as one.


class Model:
    """What the metrics need of an LLM that has not started."""

    name = 'a "quoted\\ model'
    started = False


def page(requests: int, seconds: float) -> bytes:
    metrics = Metrics([Model()])  # type: ignore[list-item]  # a stand-in
    for _ in range(requests):
        metrics.finished(Model.name, "/v1/x", 200, seconds)
    metrics.gaps[Model.name].add(0.01, 1)
    return metrics.report()


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_counters_and_histograms_are_added_up() -> None:
    pages = [page(2, 0.02), page(3, 0.2), page(0, 0)]
    merged = samples(merge_pages(pages))
    singles = [samples(item) for item in pages]
    assert set(merged) == set().union(*singles)
    for key, value in merged.items():
        found = [single[key] for single in singles if key in single]
        expected = min(found) if key[0] == "process_start_time_seconds" else sum(found)
        assert value == pytest.approx(expected)
    label = (("model", Model.name), ("route", "/v1/x"), ("status", "200"))
    assert merged["openllm_requests_total", label] == 5
    assert merged["openllm_inter_token_seconds_count", (("model", Model.name),)] == 3


def test_types_and_meanings_stay() -> None:
    alone, merged = page(1, 0.1).decode(), merge_pages([page(1, 0.1), page(1, 0.1)]).decode()
    assert {line for line in alone.splitlines() if line.startswith("#")} == {
        line for line in merged.splitlines() if line.startswith("#")
    }
