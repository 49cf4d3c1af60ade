"""One of several engines that share the requests of a model: its connection, what becomes of its
requests when it ends, and what is counted over all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs

from openllm.backends.base import EngineStats
from openllm.errors import AdapterNotFound, Conflict, EngineDead, OpenLLMError, ReplicaLost
from openllm.remote.backend import RunnerBackend
from openllm.types import Sink, TokenDelta

T = TypeVar("T")
ATTEMPTS = 3  # of an engine that dies while it starts, before that is what is wrong with it
COUNTERS = ("prefix_hits", "prefix_queries", "preemptions")
GAUGES = ("running", "waiting")


@attrs.define(eq=False)
class Replica:
    """One of the engines. `runner` is there while it takes requests."""

    number: int
    address: Path
    runner: RunnerBackend | None = None
    trouble: OpenLLMError | None = None  # why it has not come up
    attempts: int = 0  # since it was up
    before: EngineStats = attrs.field(factory=EngineStats)  # counted by engines that have ended
    news: asyncio.Event = attrs.field(factory=asyncio.Event)

    @property
    def stats(self) -> EngineStats:
        """How it is; what is counted includes what was counted before it was started again."""
        now = self.runner.stats() if self.runner is not None else EngineStats()
        return attrs.evolve(
            now, **{name: getattr(now, name) + getattr(self.before, name) for name in COUNTERS}
        )

    @property
    def hopeless(self) -> bool:
        """Whether its engine says itself why it cannot start, or has died too often, so that
        whoever waits for the first start need not wait on.
        """
        if self.trouble is None:
            return False
        return not isinstance(self.trouble, EngineDead) or self.attempts >= ATTEMPTS


class Retrying:
    """The sink of a request: the end of its engine is something that passes."""

    __slots__ = ("_sink", "put")

    def __init__(self, sink: Sink[TokenDelta]) -> None:
        self._sink = sink
        self.put = sink.put  # nothing stands between an engine and whoever reads its tokens

    def fail(self, error: OpenLLMError) -> None:
        self._sink.fail(replica_lost() if isinstance(error, EngineDead) else error)


async def lasting(work: Awaitable[T]) -> T:
    """Errors: those of `work`, ReplicaLost for EngineDead."""
    try:
        return await work
    except EngineDead as error:
        raise replica_lost() from error


def replica_lost() -> ReplicaLost:
    return ReplicaLost(
        "The replica that had this request has ended.", hint="Send it again: another answers."
    )


def sum_stats(one: EngineStats, other: EngineStats) -> EngineStats:
    names = (*GAUGES, *COUNTERS, "cache_usage")
    return EngineStats(**{name: getattr(one, name) + getattr(other, name) for name in names})


async def make_alike(runner: RunnerBackend, wanted: Mapping[str, Path]) -> None:
    """Mount and unmount adapters until it has those that are `wanted`; another process may do the
    same at the same time. Errors: what the engine has against one.
    """
    for name in runner.adapters.keys() - wanted.keys():
        with contextlib.suppress(AdapterNotFound):
            await runner.unmount_adapter(name)
    for name in wanted.keys() - runner.adapters.keys():
        with contextlib.suppress(Conflict):
            await runner.mount_adapter(name, wanted[name])
