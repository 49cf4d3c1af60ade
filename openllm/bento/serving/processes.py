"""A process that the supervisor has started, as an object that tells of its end."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

import attrs


class Child(Protocol):
    """A process as the supervisor needs it."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def stop(self, seconds: float = ...) -> int: ...


@attrs.frozen
class Ended:
    """An event: `child` has ended with the exit code `code`."""

    name: str
    child: Child
    code: int


def watched(name: str, child: Child, events: queue.SimpleQueue[object]) -> Child:
    """Report the end of `child` to `events`."""

    def watch() -> None:
        events.put(Ended(name, child, child.wait()))

    threading.Thread(target=watch, daemon=True).start()
    return child
