"""A benchmark from beginning to end: warm up, take every level, sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

import openllm
from openllm.cli.bench import processes
from openllm.cli.bench.drive import Driven
from openllm.cli.bench.figures import BenchRun, Figures, summed
from openllm.cli.bench.load import Level, LoadRequest, ServerUnderLoad, read_counts, read_rates
from openllm.cli.bench.prompts import PromptShape, make_requests, read_requests
from openllm.cli.bench.server import SideChannel
from openllm.client import Client

STREAMS = "1-8"
A_STREAM, AT_LEAST = 4, 8  # requests of a closed loop
OPEN_SECONDS, OPEN_LEAST = 10.0, 20  # an open loop's, and its fewest requests
_SETTLE = 2.0  # seconds that a server's counts may lag behind its answers
_LOOK = 0.05


@attrs.frozen
class BenchPlan:
    """What is to be measured, beside the server."""

    levels: list[Level]
    shape: PromptShape
    prompts: Path | None = None  # a file of them, instead of made-up ones
    limits: Mapping[str, float] = attrs.field(factory=dict)  # milliseconds
    warmup: int = 1
    seed: int = 0
    processes: int | None = None
    patience: float = 600.0

    @property
    def told(self) -> dict[str, Any]:
        """As it is saved with the figures."""
        first = self.levels[0]
        return {
            "burstiness": None if first.rate is None else first.burstiness,
            "prompts": self.prompts and str(self.prompts),
            **({} if self.prompts else attrs.asdict(self.shape)),
            "warmup": self.warmup,
            "seed": self.seed,
        }


def read_levels(
    streams: str | None, rate: str | None, requests: int | None, burstiness: float
) -> list[Level]:
    """The levels that a command line means. Errors: ConfigurationError."""
    if rate is None:
        return [
            Level(requests or max(A_STREAM * count, AT_LEAST), count)
            for count in read_counts(streams or STREAMS)
        ]
    at_once = read_counts(streams)[-1] if streams else None
    return [Level(requests or _worth(each), at_once, each, burstiness) for each in read_rates(rate)]


def _worth(rate: float) -> int:
    return OPEN_LEAST if rate == float("inf") else max(round(rate * OPEN_SECONDS), OPEN_LEAST)


class Bench:
    """Measures one server; `say` is told what is being done."""

    def __init__(
        self, tested: ServerUnderLoad, plan: BenchPlan, say: Callable[[str], None]
    ) -> None:
        self._tested = tested
        self._plan = plan
        self._say = say
        self._side = SideChannel(tested.endpoint, tested.key)
        self._pool: list[int] | None = None

    def run(self) -> BenchRun:
        """Errors: ConfigurationError for a file without prompts; EngineDead, ServeError
        where the server does not get ready.
        """
        plan, tested = self._plan, self._tested
        try:
            if self._side.loads():
                self._say("Waiting until the server is ready.")
                with Client(tested.endpoint) as client:
                    client.wait_until_ready(plan.patience)
            if plan.prompts is None and not tested.chat:
                self._pool = self._side.token_pool(tested.model)
            if plan.warmup:
                self._say(f"Warming up with {plan.warmup} request{'s' * (plan.warmup > 1)}.")
                self._drive(Level(plan.warmup, 1), "warmup")
            levels = [self._take(level) for level in plan.levels]
        finally:
            self._side.close()
        return BenchRun(
            endpoint=tested.endpoint,
            model=tested.model,
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            openllm=openllm.__version__,
            load={"chat": tested.chat, **plan.told, **tested.fields},
            limits_ms=dict(plan.limits),
            levels=levels,
        )

    def _take(self, level: Level) -> Figures:
        what = "streams" if level.rate is None else "requests"
        self._say(f"{level.name} {what}: {level.requests} requests.")
        before = self._side.engine_seconds()
        driven = self._drive(level, f"{self._plan.seed}/{level.name}")
        done = sum(not each.error for share in driven for each in share.exchanged)
        engine = self._engine_seconds(before, done)
        return summed(level, driven, self._plan.limits, engine)

    def _drive(self, level: Level, seed: str) -> list[Driven]:
        plan = self._plan
        shares = processes.share_out(
            self._tested,
            level,
            self._requests(level.requests, seed),
            seed=plan.seed,
            processes=plan.processes,
            patience=plan.patience,
        )
        return processes.drive(shares)

    def _requests(self, count: int, seed: str) -> list[LoadRequest]:
        plan = self._plan
        if plan.prompts is None:
            return make_requests(count, plan.shape, self._pool, seed)
        found = read_requests(plan.prompts, plan.shape.answer, chat=self._tested.chat)
        return [found[at % len(found)] for at in range(count)]

    def _engine_seconds(self, before: tuple[float, float] | None, done: int) -> float | None:
        """How long the engine has had the `done` requests; None where the server does not say, or
        others than these were among them.
        """
        deadline = time.monotonic() + _SETTLE
        while before is not None:
            now = self._side.engine_seconds()
            if now is not None and now[1] - before[1] == done:
                return now[0] - before[0]
            if time.monotonic() > deadline or (now is not None and now[1] - before[1] > done):
                return None
            time.sleep(_LOOK)
        return None
