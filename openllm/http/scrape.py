"""One page for Prometheus from the pages of several processes that count for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_BORN = "_created"  # samples that say when counting began


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
