"""Writes docs/grafana.json, a Grafana dashboard of what /metrics says: `make format` runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

TARGET = Path(__file__).parents[1] / "docs" / "grafana.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
OF_MODEL = '{job=~"$job",model=~"$model"}'
OF_JOB = '{job=~"$job"}'
CPU = "process_cpu_seconds_total"
KEY_PROMPTS, KEY_ANSWERS = "openllm_key_prompt_tokens_total", "openllm_key_completion_tokens_total"
WIDTH, HEIGHT = 8, 8  # of a panel; a row is 24 wide


@attrs.frozen
class Query:
    """An expression, and what its lines are called."""

    expression: str
    legend: str


@attrs.frozen
class Panel:
    """A graph over time. `unit` is Grafana's name of one."""

    title: str
    unit: str
    queries: Sequence[Query]
    meaning: str = ""


def rate(name: str, by: str, selector: str = OF_MODEL) -> str:
    """Of a counter, a second, added up by a label."""
    return f"sum by ({by}) (rate({name}{selector}[$__rate_interval]))"


def quantiles(name: str, meaning: str = "") -> list[Query]:
    """The usual three of a histogram, over all that the variables choose."""
    rates = rate(f"{name}_bucket", "le")
    return [
        Query(f"histogram_quantile({share}, {rates})", f"p{round(share * 100)}{meaning}")
        for share in (0.5, 0.95, 0.99)
    ]


def gauge(name: str, by: str, selector: str = OF_MODEL) -> Query:
    return Query(f"sum by ({by}) ({name}{selector})", f"{{{{{by}}}}}")


def part(above: str, below: str) -> str:
    """One counter's share in another's, by model."""
    return f"{rate(above, 'model')} / {rate(below, 'model')}"


ROWS: dict[str, Sequence[Panel]] = {
    "Requests": (
        Panel(
            "Requests by status",
            "reqps",
            [Query(rate("openllm_requests_total", "status"), "{{status}}")],
            "499: the client has left.",
        ),
        Panel(
            "Faults of the server",
            "percentunit",
            [
                Query(
                    'sum(rate(openllm_requests_total{job=~"$job",model=~"$model",status=~"5.."}'
                    "[$__rate_interval])) / sum(rate(openllm_requests_total"
                    f"{OF_MODEL}[$__rate_interval]))",
                    "5xx",
                )
            ],
        ),
        Panel(
            "Requests by route",
            "reqps",
            [Query(rate("openllm_requests_total", "route"), "{{route}}")],
        ),
        Panel("Whole request", "s", quantiles("openllm_request_seconds")),
        Panel(
            "Ends of answers",
            "cps",
            [Query(rate("openllm_finish_reasons_total", "finish_reason"), "{{finish_reason}}")],
        ),
        Panel(
            "Tokens",
            "cps",
            [
                Query(rate("openllm_prompt_tokens_total", "model"), "{{model}}: prompt"),
                Query(rate("openllm_completion_tokens_total", "model"), "{{model}}: answer"),
            ],
        ),
    ),
    "Latency": (
        Panel("Time to first token", "s", quantiles("openllm_time_to_first_token_seconds")),
        Panel("Between tokens", "s", quantiles("openllm_inter_token_seconds")),
        Panel("Queue", "s", quantiles("openllm_queue_seconds")),
        Panel("Prefill", "s", quantiles("openllm_prefill_seconds")),
        Panel("Decode", "s", quantiles("openllm_decode_seconds")),
        Panel(
            "Lengths",
            "none",
            [
                *quantiles("openllm_request_prompt_tokens", ": prompt"),
                *quantiles("openllm_request_completion_tokens", ": answer"),
            ],
        ),
    ),
    "Engine": (
        Panel(
            "Running and waiting",
            "none",
            [
                Query(f"sum by (model) (openllm_requests_running{OF_MODEL})", "{{model}}: running"),
                Query(f"sum by (model) (openllm_requests_waiting{OF_MODEL})", "{{model}}: waiting"),
            ],
        ),
        Panel(
            "KV cache in use",
            "percentunit",
            [Query(f"max by (model) (openllm_cache_usage_ratio{OF_MODEL})", "{{model}}")],
        ),
        Panel(
            "Prompt tokens from the cache",
            "percentunit",
            [
                Query(
                    part("openllm_prefix_cache_hits_total", "openllm_prefix_cache_queries_total"),
                    "{{model}}",
                )
            ],
        ),
        Panel(
            "Preemptions",
            "cps",
            [Query(rate("openllm_preemptions_total", "model"), "{{model}}")],
            "Requests put back to make room: more of them than a few ask for a larger cache.",
        ),
        Panel(
            "Adapters",
            "none",
            [
                Query(f"max by (model) (openllm_adapters_mounted{OF_MODEL})", "{{model}}: mounted"),
                Query(f"max by (model) (openllm_adapter_slots{OF_MODEL})", "{{model}}: slots"),
            ],
        ),
        Panel(
            "Requests by adapter",
            "reqps",
            [Query(rate("openllm_adapter_requests_total", "adapter"), "{{adapter}}")],
        ),
    ),
    "Keys": (
        Panel(
            "Requests by key",
            "reqps",
            [Query(rate("openllm_key_requests_total", "key", OF_JOB), "{{key}}")],
        ),
        Panel(
            "Tokens by key",
            "cps",
            [
                Query(rate(KEY_PROMPTS, "key", OF_JOB), "{{key}}: prompt"),
                Query(rate(KEY_ANSWERS, "key", OF_JOB), "{{key}}: answer"),
            ],
        ),
        Panel(
            "Running and waiting by key",
            "none",
            [
                Query(f"sum by (key) (openllm_key_requests_live{OF_JOB})", "{{key}}: running"),
                Query(f"sum by (key) (openllm_key_requests_waiting{OF_JOB})", "{{key}}: waiting"),
            ],
            "Where there is a file of keys.",
        ),
    ),
    "Process": (
        Panel(
            "CPU",
            "none",
            [Query(rate(CPU, "instance", OF_JOB), "{{instance}}")],
        ),
        Panel("Memory", "bytes", [gauge("process_resident_memory_bytes", "instance", OF_JOB)]),
        Panel("Descriptors", "none", [gauge("process_open_fds", "instance", OF_JOB)]),
    ),
}


def dashboard() -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "title": "openllm",
        "uid": "openllm",
        "tags": ["openllm"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
    for name, query in (
        ("job", "label_values(openllm_build_info, job)"),
        ("model", 'label_values(openllm_model_info{job=~"$job"}, model)'),
    ):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "definition": query,
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }


def _panels() -> Iterator[dict[str, Any]]:
    number = top = 0
    for title, panels in ROWS.items():
        number += 1
        at = {"x": 0, "y": top, "w": 3 * WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": title, "gridPos": at, "panels": []}
        top += 1
        for place, panel in enumerate(panels):
            number += 1
            x, y = WIDTH * (place % 3), top + HEIGHT * (place // 3)
            yield _panel(number, panel, {"x": x, "y": y, "w": WIDTH, "h": HEIGHT})
        top += HEIGHT * -(-len(panels) // 3)


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + at), "expr": query.expression, "legendFormat": query.legend}
        for at, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [target | {"datasource": SOURCE} for target in targets],
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> int:
    TARGET.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
