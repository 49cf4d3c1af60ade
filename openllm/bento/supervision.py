"""BentoML's supervisor as we need it: nobody but this user gives it commands, and a worker that has
ended is back soon.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
from typing import Any

from openllm.bento.stand_in import StandIn
from openllm.weights.temporary import Temporary

SUPERVISOR = "bentoml._internal.utils.circus"
MAKERS = ("bentoml_cli.serve", "bentoml.serving")  # what a process that makes one has imported
CHECK_SECONDS = 1  # between two looks for workers that have ended; BentoML's are 10 s apart
LOOK_SECONDS = 0.1
_ENDPOINTS = ("endpoint", "pubsub_endpoint")


def keep_commands_private() -> None:
    """From here on a supervisor that this process makes listens for commands, which it obeys
    without asking who sent them, at sockets in a folder of mode 0700; by default these are TCP
    ports of the loopback interface, open to every user of the machine. Does nothing in a process
    that makes none.
    """
    if sys.platform == "win32" or not any(name in sys.modules for name in MAKERS):
        return
    module = importlib.import_module(SUPERVISOR)
    for name in ("Arbiter", "ThreadedArbiter"):
        kind = getattr(module, name)
        if not issubclass(kind, _Private):
            setattr(module, name, type(name, (_Private, kind), {}))


class _Private:
    """Comes before BentoML's Arbiter, which has no types."""

    exit_stack: Any
    watchers: list[Any]
    _restarting: bool
    _exclusive_running_command: str | None

    def __init__(self, *args: Any, **options: Any) -> None:
        folder = Temporary()  # for this user alone
        options |= {name: f"ipc://{folder.path / name}" for name in _ENDPOINTS}
        super().__init__(*args, **{**options, "check_delay": CHECK_SECONDS})
        self.exit_stack.callback(folder.close)
        listeners = [one for one in options.get("sockets", ()) if one.family != socket.AF_UNIX]
        encrypted = any("--ssl-certfile" in watcher.args for watcher in self.watchers)
        if len(listeners) == 1 and not encrypted:
            threading.Thread(target=self._watch, args=listeners, daemon=True).start()

    def manage_watchers(self) -> Any:
        """Start again what has ended; later, while another command is carried out: circus would
        raise.
        """
        if self._restarting or self._exclusive_running_command is not None:
            return None
        return super().manage_watchers()  # type: ignore[misc]  # of the Arbiter behind this

    def _watch(self, listener: socket.socket) -> None:
        """Have somebody answer from a worker's end until another one is there."""
        stand_in = StandIn(listener)
        stopped, ends = threading.Event(), Ends()
        self.exit_stack.callback(stand_in.close)
        self.exit_stack.callback(stopped.set)
        while not stopped.wait(LOOK_SECONDS):
            pids = {pid for watcher in self.watchers for pid in list(watcher.processes)}
            if ends.any_among(pids):
                stand_in.call()


class Ends:
    """Notices children that end, also those that are buried between two looks."""

    def __init__(self) -> None:
        self._living, self._told = set[int](), set[int]()

    def any_among(self, pids: set[int]) -> bool:
        """Whether, since the last look, a child has ended that is or was among `pids`."""
        ended = {pid for pid in pids if _has_ended(pid)}
        living = pids - ended
        found = (self._living | ended) - living - self._told
        self._living, self._told = living, ended
        return bool(found)


def _has_ended(pid: int) -> bool:
    """Whether that child has, which is left for circus to bury."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
