"""vLLM's scheduler figures as `EngineStats`: a stat logger that keeps the last reading and sums
what only grows.
"""

from __future__ import annotations

from typing import Any

from openllm.backends.base import EngineStats


class StatsBoard:
    """The figures of one engine (with data parallelism: of all its cores)."""

    def __init__(self) -> None:
        self._cores: dict[int, tuple[int, int, float]] = {}  # running, waiting, cache usage
        self._hits = self._queries = self._preemptions = 0

    def record(self, core: int, figures: Any) -> None:
        """One SchedulerStats of vLLM, as it comes once per step."""
        waiting = figures.num_waiting_reqs + getattr(figures, "num_skipped_waiting_reqs", 0)
        self._cores[core] = (figures.num_running_reqs, waiting, figures.kv_cache_usage)
        prefix = figures.prefix_cache_stats
        if prefix is not None:
            self._hits += prefix.hits
            self._queries += prefix.queries
            self._preemptions += getattr(prefix, "preempted_requests", 0)

    def read(self, live: bool) -> EngineStats:
        """The last figures; with nothing `live` nothing runs: vLLM sends none after an abort."""
        cores = list(self._cores.values()) if live else []
        return EngineStats(
            running=sum(running for running, _, _ in cores),
            waiting=sum(waiting for _, waiting, _ in cores),
            cache_usage=max((usage for _, _, usage in cores), default=0.0),
            prefix_hits=self._hits,
            prefix_queries=self._queries,
            preemptions=self._preemptions,
        )


def stat_logger(board: StatsBoard) -> Any:
    """A logger class for AsyncLLM that writes to `board`, in the place of vLLM's own Prometheus
    metrics.
    """
    from vllm.v1.metrics.loggers import PrometheusStatLogger

    class BoardLogger(PrometheusStatLogger):  # type: ignore[misc]  # vLLM is not typed for us
        """A PrometheusStatLogger by name only: vLLM adds its own, with some 20 updates per step,
        where it sees none.
        """

        def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:
            self.engine_indexes = engine_indexes or [0]

        def record(
            self,
            scheduler_stats: Any,
            iteration_stats: Any,
            mm_cache_stats: Any = None,
            engine_idx: int = 0,
        ) -> None:
            if scheduler_stats is not None:
                board.record(engine_idx, scheduler_stats)

        def log_engine_initialized(self) -> None:
            """vLLM announces its configuration here; ours is logged at start."""

        def record_sleep_state(self, *args: Any, **options: Any) -> None:
            """Sleeping engines have no figures."""

        def record_admission_rejection(self, reason: str) -> None:
            """Refusals are counted where they happen, in front of the engine."""

    return BoardLogger
