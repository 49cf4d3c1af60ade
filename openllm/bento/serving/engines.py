"""The engines' processes that the supervisor starts, one for each replica of each model, and starts
again, those that have ended or all of them one by one.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from openllm.bento.serving.processes import Child, Ended, watched
from openllm.config.settings import Settings, process_environment
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
from openllm.hardware.gpus import share_replicas, visible_devices
from openllm.remote.child import EnginePlan, EngineProcess
from openllm.remote.probe import forget_up, has_come_up, wait_up

logger = logging.getLogger("openllm")

FIRST_PAUSE = 0.2  # seconds before an engine that has ended is started again; then twice as long
LONGEST_PAUSE = 60.0
MOST_EARLY = 5  # ends at the start, one after the other, of all replicas before that is given up
UP_SECONDS = 3600.0  # for a replica to load before the others are left as they are


@attrs.frozen
class Due:
    """An event: a replica is to be started again."""

    engine: EnginePlace


@attrs.frozen
class RolledOn:
    """An event: a replica that was drained is up again; or `why` it is not."""

    engine: EnginePlace
    why: str | None


@attrs.define(eq=False)
class EnginePlace:
    """One replica of a model: its process, and those that were there before."""

    spec: LLMSpec  # of one engine
    number: int
    of: int  # replicas of its model
    address: Path
    devices: str | None
    child: Child | None = None
    early: int = 0  # ends at the start, one after the other

    @property
    def name(self) -> str:
        """As the beginning of a sentence."""
        if self.of == 1:
            return f"The engine of {self.spec.served_name}"
        return f"Replica {self.number + 1} of {self.of} of {self.spec.served_name}"


Events = queue.SimpleQueue[object]


class Engines:
    """Those of all models; `events` gets their ends, and what is due."""

    def __init__(
        self,
        specs: Sequence[LLMSpec],
        addresses: Sequence[Sequence[str]],
        settings: Settings,
        events: Events,
    ) -> None:
        """Errors: ConfigurationError where there are too few GPUs."""
        shares = share_replicas(specs, visible_devices(settings.visible_devices))
        self.all = [
            EnginePlace(engine, number, spec.replicas, Path(places[number]), devices[number])
            for spec, places, devices in zip(specs, addresses, shares, strict=True)
            for number, engine in enumerate(spec.engines())
        ]
        self.stopping = False
        self._settings = settings
        self._events = events
        self._rolling: list[EnginePlace] = []  # that are still to be drained

    @property
    def children(self) -> list[Child]:
        return [engine.child for engine in self.all if engine.child is not None]

    def start(self) -> None:
        """Start all of them. Returns at once."""
        for engine in self.all:
            self._begin(engine)
        for line in plan_lines(self.all):
            logger.info("%s", line)

    def _begin(self, engine: EnginePlace) -> None:
        settings = self._settings
        plan = EnginePlan(
            engine.spec.to_json(),
            str(engine.address),
            None,
            settings.log_level,
            settings.log_format,
            settings.drain_seconds,
        )
        forget_up(engine.address)
        process = EngineProcess(plan, process_environment(), engine.devices)
        engine.child = watched(engine.name, process, self._events)

    def ended(self, event: Ended) -> bool:
        """Have a replica that has ended started again; False where it is none of these. Errors:
        ServeError for the only engine of a model, and where all replicas end at their start.
        """
        engine = next((one for one in self.all if one.child is event.child), None)
        if engine is None:
            return False
        told = f"{engine.name} (process {event.child.pid}) has ended with {event.code}"
        if engine.of == 1:
            raise ServeError(f"{told}.")
        if self.stopping:
            engine.child = None
            return True
        at_start = event.code != 0 and not has_come_up(engine.address)
        engine.child, engine.early = None, engine.early + 1 if at_start else 0
        alike = [one for one in self.all if one.spec.served_name == engine.spec.served_name]
        if all(one.early >= MOST_EARLY for one in alike):
            raise ServeError(f"{told}, as all replicas do at their start.")
        pause = min(FIRST_PAUSE * 2 ** max(engine.early - 1, 0), LONGEST_PAUSE)
        logger.warning("%s; it is started again in %.1f s.", told, pause)
        _after(pause, lambda: self._events.put(Due(engine)))
        return True

    def again(self, event: Due) -> None:
        """Start a replica that has ended."""
        if self.stopping:
            return
        self._begin(event.engine)
        if event.engine in self._rolling[:1]:
            threading.Thread(target=self._await_up, args=(event.engine,), daemon=True).start()

    def _await_up(self, engine: EnginePlace) -> None:
        self._events.put(RolledOn(engine, wait_up(engine.address, UP_SECONDS)))

    # All of them anew, one by one.

    def roll(self) -> None:
        """Let each replica finish what it has, end and be started again, one after the other."""
        if self._rolling:
            logger.warning("The replicas are being started anew already.")
            return
        self._rolling = [engine for engine in self.all if engine.of > 1]
        if not self._rolling:
            logger.warning("There are no replicas to be started anew one by one.")
        self._drain_next()

    def rolled_on(self, event: RolledOn) -> None:
        """Go on with the next one, where the one before is up again."""
        if event.engine not in self._rolling[:1]:
            return
        if event.why is None:
            del self._rolling[0]
            self._drain_next()
            return
        self._rolling.clear()
        logger.error(
            "%s has not come up: %s. The other replicas are left as they are.",
            event.engine.name,
            event.why.removesuffix("."),
        )

    def _drain_next(self) -> None:
        if not self._rolling or self.stopping:
            return
        engine = self._rolling[0]
        logger.info("%s is drained and started anew.", engine.name)
        if engine.child is not None:
            engine.child.terminate()


def plan_lines(engines: Sequence[EnginePlace]) -> list[str]:
    """One line for each model that has replicas: how many, and where each one is."""
    found = []
    for first in engines:
        if first.number or first.of == 1:
            continue
        places = [
            f"GPU {one.devices}" if one.devices not in (None, "-1") else "this machine"
            for one in engines
            if one.spec.served_name == first.spec.served_name
        ]
        where = f": {'; '.join(places)}" if len(set(places)) > 1 else ""
        found.append(
            f"{first.spec.served_name}: {first.of} replicas, each in a process of its own,"
            f" {first.spec.routing}{where}."
        )
    return found


def _after(seconds: float, work: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()
