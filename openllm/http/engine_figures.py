"""What a scrape finds in the engines: how busy they are, which models and adapters they have, and
which openllm this is.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

import openllm

if TYPE_CHECKING:
    from openllm.backends.base import EngineStats
    from openllm.llm.llm import LLM

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


class EngineFigures(Collector):
    """Reads the engines when asked; an engine that has not started has no figures."""

    def __init__(self, llms: Sequence[LLM]) -> None:
        self._llms = llms

    def collect(self) -> Iterator[Metric]:
        up = [llm for llm in self._llms if llm.started]
        yield from _readings("openllm_", ["model"], [([llm.name], llm.stats()) for llm in up])
        yield from _replicas(up)
        yield from _about(up)
        yield from _adapters(up)

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not read the engines."""
        return iter(())


def _readings(
    prefix: str, labels: list[str], readings: Sequence[tuple[list[str], EngineStats]]
) -> Iterator[Metric]:
    """The figures of `_ENGINE`, whose names begin with `prefix` then; readings have the labels'
    values.
    """
    for name, field, meaning, grows in _ENGINE:
        kind = CounterMetricFamily if grows else GaugeMetricFamily
        family = kind(name.replace("openllm_", prefix, 1), meaning, labels=labels)
        for values, stats in readings:
            family.add_metric(values, float(getattr(stats, field)))
        yield family


def _replicas(llms: Sequence[LLM]) -> Iterator[Metric]:
    """The same of each replica, where a model has several, and whether it is there."""
    found = [
        ([llm.name, str(number)], one)
        for llm in llms
        for number, one in enumerate(llm.backend.replicas)
    ]
    if not found:
        return
    labels = ["model", "replica"]
    up = GaugeMetricFamily(
        "openllm_replica_up", "1 while the replica takes requests, else 0.", labels=labels
    )
    for values, one in found:
        up.add_metric(values, float(one.up))
    yield up
    readings = [(values, one.stats) for values, one in found]
    yield from _readings("openllm_replica_", labels, readings)


def _about(llms: Sequence[LLM]) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "openllm_build_info", "Always 1; the versions.", labels=["version", "python"]
    )
    build.add_metric([openllm.__version__, platform.python_version()], 1.0)
    yield build
    models = GaugeMetricFamily(
        "openllm_model_info",
        "Always 1; what each model runs on.",
        labels=["model", "backend", "dtype", "device", "max_model_len"],
    )
    for llm in llms:
        info = llm.info
        labels = [llm.name, llm.backend.name, info.dtype, info.device, str(info.max_model_len)]
        models.add_metric(labels, 1.0)
    yield models


def _adapters(llms: Sequence[LLM]) -> Iterator[Metric]:
    mounted = GaugeMetricFamily(
        "openllm_adapters_mounted", "LoRA adapters that requests can name.", labels=["model"]
    )
    slots = GaugeMetricFamily(
        "openllm_adapter_slots",
        "LoRA adapters that can be resident in the engine at once, where that is limited.",
        labels=["model"],
    )
    for llm in llms:
        mounted.add_metric([llm.name], float(len(llm.adapters)))
        limits = [count for count in (llm.spec.max_adapters, llm.info.adapter_slots) if count]
        if limits:
            slots.add_metric([llm.name], float(min(limits)))
    yield mounted
    yield slots
