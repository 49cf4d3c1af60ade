"""Begins and ends the processes of grammars, through one process that holds what they share.

Importing xgrammar and reading a tokenizer takes seconds, forking a process that has done so takes
milliseconds.
Nothing here waits: what is asked of the forkserver is put on its socket, and what comes back comes
from the processes that it began.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import select
import socket
import subprocess
import sys
import threading

import attrs

from openllm.backends.grammar.frames import Fork, GrammarFrame, Kill, Vocabulary, pack
from openllm.config.settings import process_environment

# Neither GPUs nor threads: a forkserver has one thread, and its children compute little.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}
_END_SECONDS = 1.0  # for it to end by itself


@attrs.frozen
class Process:
    """One process that was forked, as the end of its socket; closing that ends it when it is
    idle.
    """

    sock: socket.socket
    _number: int
    _forkserver: Forkserver

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        self._forkserver.kill(self._number)
        self.sock.close()


class Forkserver:
    """Starts with the first process that is asked of it. May be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, vocabulary: Vocabulary) -> Process:
        """A process for one grammar; its socket does not block. Where it cannot begin, that socket
        is closed.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, self._lock:
            self._revive()
            number = next(self._numbers)
            self._send(Fork(number, vocabulary), theirs)
        return Process(ours, number, self)

    def kill(self, number: int) -> None:
        """End a process; nothing happens where it has ended."""
        with self._lock:
            self._send(Kill(number))

    def _send(self, frame: GrammarFrame, *sockets: socket.socket) -> None:
        if self._control is None:
            return
        data = pack(frame)
        with contextlib.suppress(OSError):  # it has ended: its children with it
            sent = socket.send_fds(self._control, [data], [one.fileno() for one in sockets])
            self._control.sendall(data[sent:])

    def _revive(self) -> None:
        if self._control is not None and not _hung_up(self._control):
            return
        self._forget()
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-m", "openllm.backends.grammar", str(theirs.fileno())]
        with theirs:
            self._server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # xgrammar says there what it was given
                env=process_environment() | _ENVIRONMENT,
                pass_fds=(theirs.fileno(),),
                # Ctrl+C in a terminal is not for it. Not a session of its own: Linux shares CPUs
                # between sessions first, so that nice values would not count.
                process_group=0,
            )

    @property
    def pid(self) -> int | None:
        """None while it has not started."""
        return self._server.pid if self._server is not None else None

    def close(self) -> None:
        """End it, and all processes that it began. The next `fork` starts another one."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        server, self._server = self._server, None
        if self._control is not None:
            self._control.close()
            self._control = None
        if server is not None:
            try:
                server.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _hung_up(sock: socket.socket) -> bool:
    """Whether the other end is closed. A process is known to have ended a little later only."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


FORKSERVER = Forkserver()  # one for all engines of this process
atexit.register(FORKSERVER.close)
