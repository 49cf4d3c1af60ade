"""Pages of several processes as one."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openllm.http.metrics import Metrics
from openllm.http.scrape import merge_pages


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
        expected = min(found) if key[0].endswith("_created") else sum(found)
        assert value == pytest.approx(expected)
    label = (("model", Model.name), ("route", "/v1/x"), ("status", "200"))
    assert merged["openllm_requests_total", label] == 5
    assert merged["openllm_inter_token_seconds_count", (("model", Model.name),)] == 3


def test_types_and_meanings_stay() -> None:
    alone, merged = page(1, 0.1).decode(), merge_pages([page(1, 0.1), page(1, 0.1)]).decode()
    assert {line for line in alone.splitlines() if line.startswith("#")} == {
        line for line in merged.splitlines() if line.startswith("#")
    }
