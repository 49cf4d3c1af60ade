"""What is measured of each key beside what it has used: requests that run, and those that wait."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from openllm.http.keys.fair import FairQueues
from openllm.http.keys.file import KeyFile
from openllm.http.limits import RequestLimits


class KeyFigures(Collector):
    """Reads them when asked."""

    def __init__(self, keys: KeyFile, limits: RequestLimits, turns: FairQueues) -> None:
        self._keys = keys
        self._limits = limits
        self._turns = turns

    def collect(self) -> Iterator[Metric]:
        live = GaugeMetricFamily(
            "openllm_key_requests_live", "Requests being answered, by key.", labels=["key"]
        )
        waiting = GaugeMetricFamily(
            "openllm_key_requests_waiting",
            "Requests that wait for other keys' to end, by key.",
            labels=["key"],
        )
        for name in self._keys.accounts:
            live.add_metric([name], float(self._limits.of(name)))
            waiting.add_metric([name], float(self._turns.waiting(name)))
        yield live
        yield waiting
