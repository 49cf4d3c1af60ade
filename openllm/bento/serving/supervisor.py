"""Several processes behind one port: one per engine, one per API worker; a worker or a replica that
is killed is started again, and all end with a model's only engine.
"""

from __future__ import annotations

import logging
import queue
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import attrs
import msgspec

from openllm.bento.serving.engines import Due, Engines, RolledOn
from openllm.bento.serving.processes import Child, Ended, watched
from openllm.bento.serving.signals import ENDINGS, answering
from openllm.bento.stand_in import StandIn
from openllm.config.settings import Settings, foreign_environment
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError

logger = logging.getLogger("openllm")

# Exit codes of a worker that was asked to end; the second: while it was starting.
_ASKED_TO = (0, -signal.SIGTERM)
# Signals that drain the replicas and start them anew.
ROLLING = (signal.SIGUSR1,) if hasattr(signal, "SIGUSR1") else ()
LAST_WORDS_SECONDS = 15.0  # for API workers to end by themselves once an engine has died
MOST_KILLED = 5  # workers that may be killed within KILLED_SECONDS before all is given up
KILLED_SECONDS = 60.0


@attrs.frozen
class Fleet:
    """What to run: a project in `folder` (private to this user; the engines' sockets go there,
    too).
    """

    folder: Path
    specs: tuple[LLMSpec, ...]
    settings: Settings

    @property
    def addresses(self) -> tuple[tuple[str, ...], ...]:
        """The sockets of the specs' engines, one for each replica."""
        return tuple(
            tuple(str(self.folder / f"{at}-{number}.engine") for number in range(spec.replicas))
            for at, spec in enumerate(self.specs)
        )


@attrs.frozen
class WorkerPlan:
    """What an API worker is told on its standard input."""

    folder: str
    listener: int  # file descriptor of the listening socket
    engines: tuple[tuple[str, ...], ...]  # sockets, for each model
    replaces: bool = False  # one that was killed: it takes no connection before it can answer


class WorkerProcess:
    """A child that speaks HTTP; it drains when this process ends, however that ends."""

    def __init__(self, fleet: Fleet, listener: socket.socket, *, replaces: bool = False) -> None:
        environment = {**foreign_environment(), **fleet.settings.to_env()}
        plan = WorkerPlan(str(fleet.folder), listener.fileno(), fleet.addresses, replaces)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "openllm.bento.serving.api_worker"],
            stdin=subprocess.PIPE,
            env=environment,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
        if self._child.stdin is not None:
            self._child.stdin.write(msgspec.json.encode(plan) + b"\n")
            self._child.stdin.flush()

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait(self) -> int:
        return self._child.wait()

    def terminate(self) -> None:
        """Drain; again: do not wait for what still runs."""
        self._child.terminate()

    def stop(self, seconds: float = LAST_WORDS_SECONDS) -> int:
        """Make sure that it has ended; its exit code."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


def supervise(fleet: Fleet, listener: socket.socket) -> None:
    """Run until SIGTERM or Ctrl+C, and then until all requests are answered; SIGUSR1 drains the
    replicas and starts them anew, one by one. Errors: ServeError when a process died that is not
    started again.
    """
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    engines = Engines(fleet.specs, fleet.addresses, fleet.settings, events)
    workers = _Workers(fleet, listener, events)
    with answering(lambda number, frame: events.put(number), (*ENDINGS, *ROLLING)):
        try:
            engines.start()
            for _ in range(fleet.settings.api_workers):
                workers.start()
            _wait(events, workers, engines)
        finally:
            engines.stopping = True
            workers.close()
            for child in (*workers.all, *engines.children):
                child.terminate()
            for child in (*workers.all, *engines.children):
                child.stop()


class _Workers:
    """The API workers, and the socket that they take connections from."""

    def __init__(
        self, fleet: Fleet, listener: socket.socket, events: queue.SimpleQueue[object]
    ) -> None:
        self.all: list[Child] = []
        self.draining = False
        self._fleet = fleet
        self._listener = listener
        self._stand_in = StandIn(listener)
        self._events = events
        self._killed: deque[float] = deque(maxlen=MOST_KILLED)  # when

    def start(self, *, replaces: bool = False) -> None:
        """Start one more."""
        worker = WorkerProcess(self._fleet, self._listener, replaces=replaces)
        self.all.append(watched("An API worker", worker, self._events))

    def drain(self) -> None:
        """Let all of them end once they have answered; again: do not wait for what still runs."""
        self.draining = True
        self.close()
        for worker in self.all:
            worker.terminate()

    def close(self) -> None:
        """Listen no more, but in the workers."""
        self._stand_in.close()
        self._listener.close()

    def ended(self, event: Ended) -> None:
        """Forget a worker, and start another one where it was killed or asked to end by somebody
        else. Errors: ServeError for what is no worker or has given up, and for too many.
        """
        known = event.child in self.all
        asked = event.code in _ASKED_TO
        if self.draining and known and asked:
            self.all.remove(event.child)
            return
        now = time.monotonic()
        while self._killed and now - self._killed[0] > KILLED_SECONDS:
            self._killed.popleft()
        again = (asked or event.code < 0) and len(self._killed) < MOST_KILLED
        if self.draining or not known or not again:
            raise ServeError(
                f"{event.name} (process {event.child.pid}) has ended with {event.code}."
            )
        self._killed.append(now)
        logger.warning(
            "%s (process %d) has ended with %d; another one is being started.",
            event.name,
            event.child.pid,
            event.code,
        )
        self.all.remove(event.child)
        self._stand_in.call()
        self.start(replaces=True)


def _wait(events: queue.SimpleQueue[object], workers: _Workers, engines: Engines) -> None:
    """Return once a signal has come and every worker has drained. Errors: ServeError when a process
    ended that is not started again.
    """
    while workers.all:
        match events.get():
            case Ended() as event:
                if not engines.ended(event):
                    workers.ended(event)
            case Due() as due:
                engines.again(due)
            case RolledOn() as up:
                engines.rolled_on(up)
            case number if number in ROLLING:
                engines.roll()
            case _:
                engines.stopping = True
                workers.drain()
