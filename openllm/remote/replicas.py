"""ReplicatedBackend: several engines of one model, each in a process of its own, as one `Backend`
that spreads requests over them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import attrgetter
from pathlib import Path

import attrs

from openllm.backends.base import BackendInfo, Embeddings, EngineStats, Logits, ReplicaFigures
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import AdapterNotFound, EngineDead, OpenLLMError, ReplicaLost
from openllm.remote.backend import RESTART, RunnerBackend, SharedBackend, not_started
from openllm.remote.replica import (
    COUNTERS,
    Replica,
    Retrying,
    lasting,
    make_alike,
    replica_lost,
    sum_stats,
)
from openllm.remote.routing import make_routing
from openllm.types import EncodedText, Running, Sink, TokenDelta, TokenRequest

logger = logging.getLogger("openllm")

AGAIN_SECONDS = 1.0  # after an engine that did not come up; longer than it says why
LOOK_SECONDS = 0.05  # between two looks at what an engine that leaves has still to do


class ReplicatedBackend(SharedBackend):
    """Talks to the engines that listen at `addresses`, and to each again when it comes back.

    What an engine had of this process when it ended fails with ReplicaLost; nothing else is lost,
    for the others go on and get what comes.
    """

    def __init__(
        self,
        spec: LLMSpec,
        weights_dir: Path,
        addresses: Sequence[Path],
        settings: Settings | None = None,
        *,
        patient: bool = True,
    ) -> None:
        """`patient`: `start` waits for all of them, not for the first."""
        super().__init__(spec, weights_dir, settings)
        self._replicas = [Replica(number, path) for number, path in enumerate(addresses)]
        self._patient = patient
        self._routing = make_routing(spec.routing)
        self._keepers: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()  # one of them has come up, or has not
        self._known: Mapping[str, Path] | None = None  # the adapters, when last looked at
        self._info: BackendInfo | None = None
        self._engine = self._reason = ""
        self._most_users = 0

    # Life.

    async def start(self) -> None:
        """Return once all are up (or one, where it is not patient). Errors: what keeps one of them
        from starting; EngineDead for one that dies again and again.
        """
        if not self._keepers:
            make = asyncio.get_running_loop().create_task
            self._keepers = [make(self._keep(replica)) for replica in self._replicas]
        while not self._enough():
            if (error := self._obstacle()) is not None:
                await self.close()
                raise error
            self._news.clear()
            await self._news.wait()

    def _enough(self) -> bool:
        up = sum(replica.runner is not None for replica in self._replicas)
        return up == len(self._replicas) or (up > 0 and not self._patient)

    def _obstacle(self) -> OpenLLMError | None:
        found = [replica.trouble for replica in self._replicas if replica.hopeless]
        return found[0] if found and (self._patient or len(found) == len(self._replicas)) else None

    async def close(self) -> None:
        keepers, self._keepers = self._keepers, []
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for replica in self._replicas:
            replica.trouble, replica.attempts = None, 0

    # One engine after the other at each address.

    async def _keep(self, replica: Replica) -> None:
        while True:
            runner = RunnerBackend(self.spec, self.weights_dir, replica.address, self.settings)
            runner.report, runner.noticed = self._tell, replica.news.set
            try:
                await self._join(replica, runner)
                await self._stay(replica, runner)
            except OpenLLMError as error:
                await self._not_up(replica, runner, error)
            finally:
                self._leave(replica)
                await runner.close()

    def _tell(self) -> bytes:
        return self.report()

    async def _join(self, replica: Replica, runner: RunnerBackend) -> None:
        """Wait until its engine is up, and has the adapters that the others have. Errors: what
        keeps it from that.
        """
        await runner.start()
        given: Mapping[str, Path] | None = None
        while (wanted := self._adapters_of_others(replica)) not in (None, given):
            given = wanted  # another one may be mounted meanwhile
            await make_alike(runner, given)
        if replica.trouble is not None or self._info is not None:
            logger.info("%s is there.", self._called(replica))
        if self._info is None:
            self._info, self._engine = runner.info, runner.engine
            self._reason = runner.reason or ""
        replica.runner, replica.trouble, replica.attempts = runner, None, 0
        self._routing.forget(replica.number)
        self._news.set()

    async def _not_up(self, replica: Replica, runner: RunnerBackend, error: OpenLLMError) -> None:
        await runner.close()
        replica.trouble = error
        replica.attempts += 1
        logger.warning("%s is not up: %s", self._called(replica), error)
        self._news.set()
        await asyncio.sleep(AGAIN_SECONDS)

    async def _stay(self, replica: Replica, runner: RunnerBackend) -> None:
        """Return once its engine is gone; one that leaves finishes what it has."""
        while runner.failure is None and not runner.leaving:
            self._look(runner)
            replica.news.clear()
            await replica.news.wait()
        self._leave(replica)
        why = runner.failure or "it was asked to end"
        logger.warning("%s takes no requests for now: %s.", self._called(replica), why)
        while runner.failure is None and runner.unfinished:  # noqa: ASYNC110  has no event
            await asyncio.sleep(LOOK_SECONDS)
        runner.abandon(replica_lost())

    def _look(self, runner: RunnerBackend) -> None:
        """Note what all of them share, by the word of one that is well."""
        self._known = runner.adapters
        self._most_users = max(self._most_users, runner.users)

    def _leave(self, replica: Replica) -> None:
        ended = replica.stats
        replica.runner = None
        replica.before = attrs.evolve(
            EngineStats(), **{name: getattr(ended, name) for name in COUNTERS}
        )

    def _called(self, replica: Replica) -> str:
        return f"Replica {replica.number + 1} of {len(self._replicas)} of {self.spec.served_name}"

    # What is asked of one of them.

    def _up(self) -> Iterator[tuple[Replica, RunnerBackend]]:
        for replica in self._replicas:
            if (runner := replica.runner) is not None and runner.failure is None:
                yield replica, runner

    def _able(self, adapter: str | None = None) -> dict[int, RunnerBackend]:
        """Those that are up, and have the adapter, by number. Errors: ReplicaLost where there are
        none.
        """
        found = {
            replica.number: runner
            for replica, runner in self._up()
            if adapter is None or runner.has(adapter)
        }
        if not found:
            raise self._nobody()
        return found

    def _choose(self, request: TokenRequest) -> RunnerBackend:
        """Errors: ReplicaLost while none of them can answer."""
        found = self._able(request.adapter)
        return found[self._routing.choose(request, _loads(found))]

    def _nobody(self) -> OpenLLMError:
        if not self._keepers:
            return EngineDead("The engine has not been started, or was closed.", hint=RESTART)
        return ReplicaLost(
            f"No replica of {self.spec.served_name} is up just now.",
            hint="Try again in a moment.",
            retry_after=5,
        )

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        return await lasting(self._choose(request).submit(request, Retrying(sink)))

    def _idlest(self) -> RunnerBackend:
        """Errors: ReplicaLost."""
        found = self._able()
        return found[self._routing.least_loaded(_loads(found))]

    async def embed(
        self, prompts: Sequence[Sequence[int]], pooling: str | None = None, skip: int = 0
    ) -> Embeddings:
        return await lasting(self._idlest().embed(prompts, pooling, skip))

    async def classify(self, inputs: Sequence[EncodedText]) -> Logits:
        return await lasting(self._idlest().classify(inputs))

    # Adapters: all of them have the same.

    @property
    def adapters(self) -> Mapping[str, Path]:
        """Those that all have which are up."""
        found = [runner.adapters for _, runner in self._up()]
        if not found:
            return self._known or {}
        return {
            name: path
            for name, path in found[0].items()
            if all(name in other for other in found[1:])
        }

    def _adapters_of_others(self, replica: Replica) -> Mapping[str, Path] | None:
        """What one that comes up has to have; None: what it begins with."""
        others = (runner.adapters for other, runner in self._up() if other is not replica)
        return next(others, self._known)

    async def mount_adapter(self, name: str, path: Path) -> None:
        """All of them get it, or none does. Errors: what one of them has against it."""
        asked = {runner for _, runner in self._up()}

        async def mount(runner: RunnerBackend) -> None:
            if runner in asked:
                await runner.mount_adapter(name, path)
            else:  # it came up meanwhile, perhaps with what the first of the others had by then
                await make_alike(runner, {**runner.adapters, name: path})

        errors = await self._each(mount)
        if not errors:
            return
        # One that is gone begins with what the others have, so it stands in nobody's way.
        refused = [error for error in errors.values() if not isinstance(error, EngineDead)]
        if refused or all(runner in errors for _, runner in self._up()):
            for _, runner in self._up():
                if runner not in errors:
                    with contextlib.suppress(OpenLLMError):
                        await runner.unmount_adapter(name)
            raise refused[0] if refused else self._nobody()

    async def unmount_adapter(self, name: str, *, wait: bool = True) -> None:
        async def unmount(runner: RunnerBackend) -> None:
            await runner.unmount_adapter(name, wait=wait)

        errors = await self._each(unmount)
        for error in errors.values():
            if not isinstance(error, EngineDead | AdapterNotFound):
                raise error

    async def _each(
        self, work: Callable[[RunnerBackend], Awaitable[None]]
    ) -> dict[RunnerBackend, OpenLLMError]:
        """Have `work` done by all that are up, and those that come up meanwhile; the errors of
        those that refuse. Errors: ReplicaLost where none is up.
        """
        asked = set[RunnerBackend]()
        errors = dict[RunnerBackend, OpenLLMError]()
        while runners := [runner for _, runner in self._up() if runner not in asked]:
            asked.update(runners)
            found = await asyncio.gather(*map(work, runners), return_exceptions=True)
            for runner, error in zip(runners, found, strict=True):
                if isinstance(error, OpenLLMError):
                    errors[runner] = error
                elif error is not None:
                    raise error
        if not asked:
            raise self._nobody()
        return errors

    # How they are.

    @property
    def info(self) -> BackendInfo:
        if self._info is None:
            raise not_started()
        return self._info

    @property
    def engine(self) -> str:
        return self._engine

    @property
    def reason(self) -> str | None:
        return f"{self._reason} {len(self._replicas)} replicas." if self._reason else None

    def stats(self) -> EngineStats:
        """The sums; of the cache's use the mean."""
        found = [replica.stats for replica in self._replicas]
        total = reduce(sum_stats, found)
        up = sum(replica.runner is not None for replica in self._replicas)
        return attrs.evolve(total, cache_usage=total.cache_usage / max(up, 1))

    @property
    def replicas(self) -> Sequence[ReplicaFigures]:
        return [
            ReplicaFigures(replica.runner is not None, replica.stats) for replica in self._replicas
        ]

    @property
    def ready(self) -> bool:
        return any(True for _ in self._up())

    @property
    def failure(self) -> None:
        """None: whoever starts the engines says when to give up."""

    # The processes that use them.

    @property
    def users(self) -> int:
        return max((runner.users for _, runner in self._up()), default=0)

    @property
    def most_users(self) -> int:
        return max(self._most_users, self.users)

    async def reports(self) -> list[bytes]:
        """From the engine that most processes are connected to. Errors: also ReplicaLost."""
        found = max(self._able().values(), key=attrgetter("users"))
        return await lasting(found.reports())


def _loads(runners: Mapping[int, RunnerBackend]) -> dict[int, int]:
    return {number: runner.load for number, runner in runners.items()}
