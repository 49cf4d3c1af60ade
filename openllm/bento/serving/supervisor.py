"""Several processes behind one port: one per engine, one per API worker; when any of them dies, all
of them end.
"""

from __future__ import annotations

import logging
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import attrs
import msgspec

from openllm.bento.serving.signals import answering
from openllm.config.settings import Settings, foreign_environment, process_environment
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
from openllm.hardware.gpus import share_devices, visible_devices
from openllm.remote.child import EnginePlan, EngineProcess

logger = logging.getLogger("openllm")

# Exit codes of a worker that was asked to end; the second: while it was starting.
_ASKED_TO = (0, -signal.SIGTERM)
LAST_WORDS_SECONDS = 15.0  # for API workers to end by themselves once an engine has died


@attrs.frozen
class Fleet:
    """What to run: a project in `folder` (private to this user; the engines' sockets go there,
    too).
    """

    folder: Path
    specs: tuple[LLMSpec, ...]
    settings: Settings

    @property
    def addresses(self) -> tuple[str, ...]:
        """The sockets of the specs' engines."""
        return tuple(str(self.folder / f"{at}.engine") for at in range(len(self.specs)))


@attrs.frozen
class WorkerPlan:
    """What an API worker is told on its standard input."""

    folder: str
    listener: int  # file descriptor of the listening socket
    engines: tuple[str, ...]


class Child(Protocol):
    """A process as the supervisor needs it."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def stop(self, seconds: float = ...) -> int: ...


class WorkerProcess:
    """A child that speaks HTTP; it drains when this process ends, however that ends."""

    def __init__(self, fleet: Fleet, listener: socket.socket) -> None:
        environment = {**foreign_environment(), **fleet.settings.to_env()}
        plan = WorkerPlan(str(fleet.folder), listener.fileno(), fleet.addresses)
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


@attrs.frozen
class _Ended:
    name: str
    child: Child
    code: int


def supervise(fleet: Fleet, listener: socket.socket) -> None:
    """Run until SIGTERM or Ctrl+C, and then until all requests are answered. Errors: ServeError
    when a process died.
    """
    events: queue.SimpleQueue[_Ended | int] = queue.SimpleQueue()
    engines: list[Child] = []
    workers: list[Child] = []
    with answering(lambda number, frame: events.put(number)):
        try:
            for at, (plan, devices) in enumerate(_engine_plans(fleet)):
                name = f"The engine of {fleet.specs[at].served_name}"
                engines.append(
                    _watched(name, EngineProcess(plan, process_environment(), devices), events)
                )
            count = range(fleet.settings.api_workers)
            workers.extend(
                _watched("An API worker", WorkerProcess(fleet, listener), events) for _ in count
            )
            listener.close()  # the workers have it
            _wait(events, {worker.pid for worker in workers}, workers)
        finally:
            for child in (*workers, *engines):
                child.terminate()
            for child in (*workers, *engines):
                child.stop()


def _engine_plans(fleet: Fleet) -> Iterator[tuple[EnginePlan, str | None]]:
    shares = share_devices(fleet.specs, visible_devices(fleet.settings.visible_devices))
    for spec, address, devices in zip(fleet.specs, fleet.addresses, shares, strict=True):
        settings = fleet.settings
        yield (
            EnginePlan(spec.to_json(), address, None, settings.log_level, settings.drain_seconds),
            devices,
        )


def _wait(events: queue.SimpleQueue[_Ended | int], left: set[int], workers: list[Child]) -> None:
    """Return once a signal has come and every worker has drained. Errors: ServeError when a process
    ended before.
    """
    draining = False
    while left:
        event = events.get()
        if isinstance(event, int):
            draining = True
            for worker in workers:
                worker.terminate()
            continue
        if not draining or event.child.pid not in left or event.code not in _ASKED_TO:
            raise ServeError(
                f"{event.name} (process {event.child.pid}) has ended with {event.code}."
            )
        left.discard(event.child.pid)


def _watched(name: str, child: Child, events: queue.SimpleQueue[_Ended | int]) -> Child:
    """Report the end of `child` to `events`."""

    def watch() -> None:
        events.put(_Ended(name, child, child.wait()))

    threading.Thread(target=watch, daemon=True).start()
    return child
