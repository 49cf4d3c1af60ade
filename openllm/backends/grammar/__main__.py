"""`python -m openllm.backends.grammar SOCKET`: the forkserver of grammars; ends, and they with it,
when its socket is closed.

It holds xgrammar and tokenizers. One thread and no more, so that forking is safe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from openllm.backends.framing import Splitter
from openllm.backends.grammar.frames import (
    Died,
    Fork,
    GrammarFrame,
    Kill,
    Refused,
    Vocabulary,
    pack,
    read_order,
)
from openllm.backends.grammar.worker import GrammarWorker

if TYPE_CHECKING:
    from xgrammar import TokenizerInfo

_RECEIVED = 2**16  # bytes at once
_SOCKETS = 64  # that come with one read, at the most
_VOCABULARIES = 4  # kept: an engine has one

# What transformers and xgrammar raise for a tokenizer that they cannot read.
TOKENIZER_ERRORS = (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError)


@attrs.frozen
class ForkedChild:
    """The process of a grammar, and the end of its socket that it has too."""

    pid: int
    sock: socket.socket


class ForkserverLoop:
    """The other end of `openllm.backends.grammar.forkserver`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._splitter = Splitter()
        self._sockets: list[socket.socket] = []  # came, and their frames did not yet
        self._children: dict[int, ForkedChild] = {}
        self._vocabularies: dict[bytes, TokenizerInfo] = {}
        self._ended, self._wakeup = os.pipe()

    def run(self) -> None:
        """Until the other end of the socket is closed."""
        os.set_blocking(self._wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent says when
        try:
            while self._turn():
                pass
        finally:
            for child in self._children.values():
                os.kill(child.pid, signal.SIGKILL)

    def _turn(self) -> bool:
        """Wait for something to do, and do it; False once the parent is gone."""
        control = self._control.fileno()
        ready, _, _ = select.select([control, self._ended], [], [])
        if self._ended in ready:
            os.read(self._ended, _RECEIVED)
            self._bury()
        return control not in ready or self._obey()

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, _RECEIVED, _SOCKETS)
        self._sockets += [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for frame in map(read_order, self._splitter.feed(data)):
            if isinstance(frame, Fork):
                self._fork(frame, self._sockets.pop(0))
            elif isinstance(frame, Kill) and frame.number in self._children:
                os.kill(self._children[frame.number].pid, signal.SIGKILL)
        return bool(data)

    def _fork(self, order: Fork, sock: socket.socket) -> None:
        try:
            vocabulary = self._vocabulary(order.vocabulary)
        except TOKENIZER_ERRORS:
            _last_word(sock, Refused("", supported=False))
            return
        pid = os.fork()
        if pid == 0:
            try:
                self._become(sock, vocabulary, has_end=bool(order.vocabulary.ends))
            finally:
                os._exit(1)
        self._children[order.number] = ForkedChild(pid, sock)

    def _become(self, sock: socket.socket, vocabulary: TokenizerInfo, *, has_end: bool) -> None:
        """What a child does, all its life."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        others = [child.sock for child in self._children.values()]
        for other in [*others, *self._sockets]:  # or their engines would not see them end
            other.close()
        GrammarWorker(sock, vocabulary, has_end=has_end).run()
        os._exit(0)

    def _bury(self) -> None:
        """Tell the engines of the children that have ended."""
        for number, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                del self._children[number]
                _last_word(child.sock, Died(max(-os.waitstatus_to_exitcode(status), 0)))

    def _vocabulary(self, wanted: Vocabulary) -> TokenizerInfo:
        key = pack(wanted)
        found = self._vocabularies.pop(key, None)
        if found is None:
            found = read_vocabulary(wanted)
            gc.collect()
            gc.freeze()  # what children share stays untouched
        self._vocabularies[key] = found
        while len(self._vocabularies) > _VOCABULARIES:
            del self._vocabularies[next(iter(self._vocabularies))]
        return found


def read_vocabulary(wanted: Vocabulary) -> TokenizerInfo:
    """Errors: TOKENIZER_ERRORS."""
    import xgrammar
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        Path(wanted.weights_dir), trust_remote_code=wanted.trust_remote_code, local_files_only=True
    )
    return xgrammar.TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=wanted.width, stop_token_ids=list(wanted.ends) or None
    )


def _last_word(sock: socket.socket, frame: GrammarFrame) -> None:
    """Say it without waiting: who does not read any more need not know."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.send(pack(frame))
    sock.close()


if __name__ == "__main__":
    ForkserverLoop(socket.socket(fileno=int(sys.argv[1]))).run()
