"""Where one choice is in its grammar, as its engine sees it: what may come next, once the grammar's
process has said so.

An engine tells a `Guide` the token it drew and goes on; `exchange` brings back the masks that have
come meanwhile. Nothing here waits for a process longer than it is told to. Except for `Use`, which
a request holds from its admission to its end, everything is called on the engine's thread.
"""

from __future__ import annotations

import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable

import attrs
import msgspec

from openllm.backends.framing import Splitter
from openllm.backends.grammar.forkserver import Process
from openllm.backends.grammar.frames import (
    Compiled,
    Died,
    Follow,
    FromServer,
    Mask,
    Way,
    pack,
    read_answer,
)
from openllm.backends.grammar.limits import GrammarLimits
from openllm.errors import EngineError, InvalidRequest, OpenLLMError
from openllm.types import StructureKind

_RECEIVED = 2**18  # bytes at once


@attrs.define(eq=False)
class Guide:
    """One choice's way through a grammar."""

    use: Use
    number: int
    mask: bytes | None  # a bit per token, in 32-bit words; None: every token may come
    ready: bool = True  # the mask is there, and holds
    done: bool = False  # the text is whole
    late: bool = False  # a step was over before the mask was there
    asked: float = 0.0  # when the last token was told, on the monotonic clock
    error: OpenLLMError | None = None  # why it can be followed no further

    @property
    def knows(self) -> bool:
        """Whether a token may be drawn by `mask`."""
        return self.ready and not self.done and self.error is None

    def accept(self, token: int) -> None:
        """Go on with a token that was drawn; the mask of the next one comes by `exchange`."""
        self.ready = self.late = False
        self.asked = time.monotonic()
        self.use.grammar.ask(self, token)

    def close(self) -> None:
        """The choice is over."""
        self.use.grammar.drop(self)

    def take(self, answer: Mask) -> None:
        """What the process said of the last token."""
        self.ready, self.mask, self.done = True, answer.bits, answer.way is Way.DONE
        if answer.way is Way.LOST:
            self.error = InvalidRequest(
                "The structure leaves no way on from here.", param="structure"
            )
        self.error = self.error or self.use.spend(answer.seconds)


class Grammar:
    """A compiled structure in its process, and the guides that follow it."""

    def __init__(
        self, process: Process, kind: StructureKind, compiled: Compiled, limits: GrammarLimits
    ) -> None:
        self.limits = limits
        self.users = 0  # requests; counted by the store
        self.error: OpenLLMError | None = None  # why its process has ended
        self.size = compiled.size  # bytes
        self.source = compiled.source
        self._process, self._kind, self._first = process, kind, compiled.first
        self._splitter = Splitter()
        self._guides: dict[int, Guide] = {}
        self._numbers = 0
        self._opened: list[int] = []
        self._accepted: list[tuple[int, int]] = []
        self._closed: list[int] = []
        self._unsent = bytearray()

    @property
    def overran(self) -> bool:
        """Whether it has been found to cost too much."""
        return isinstance(self.error, InvalidRequest)

    @property
    def socket(self) -> socket.socket:
        """Readable once something has come."""
        return self._process.sock

    def open(self, use: Use) -> Guide:
        """A guide at the beginning."""
        self._numbers += 1
        guide = Guide(use, self._numbers, self._first, error=self.error)
        self._guides[guide.number] = guide
        self._opened.append(guide.number)
        return guide

    def ask(self, guide: Guide, token: int) -> None:
        self._accepted.append((guide.number, token))

    def drop(self, guide: Guide) -> None:
        if self._guides.pop(guide.number, None) is not None:
            self._closed.append(guide.number)
            self.send()

    def kill(self) -> None:
        """End its process; guides that are open find an error."""
        self._process.kill()
        self._end(self._broken())

    def send(self) -> None:
        """Pass on what was asked since the last time, as far as the process takes it now."""
        if self.error is not None:
            return
        if self._opened or self._accepted or self._closed:
            self._unsent += pack(Follow(self._opened, self._accepted, self._closed))
            self._opened, self._accepted, self._closed = [], [], []
        try:
            while self._unsent:
                del self._unsent[: self.socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.receive()  # it has ended, and may have said why
            self._end(self._broken())

    def receive(self) -> None:
        """Take what has come."""
        try:
            while self.error is None and (data := self.socket.recv(_RECEIVED)):
                for body in self._splitter.feed(data):
                    self._take(read_answer(body))
            self._end(self._broken())
        except BlockingIOError:
            self._watch()
        except (OSError, ValueError, msgspec.MsgspecError):
            self._end(self._broken())

    def _take(self, answer: FromServer) -> None:
        if isinstance(answer, Mask):
            guide = self._guides.get(answer.guide)
            if guide is not None:
                guide.take(answer)
        elif isinstance(answer, Died):
            overran = answer.signal == signal.SIGPROF
            seconds = self.limits.mask_seconds
            self._end(too_costly(self._kind, seconds) if overran else self._broken())

    def _watch(self) -> None:
        """Give up a process that does not come to its end by itself."""
        waiting = (guide.asked for guide in self._guides.values() if not guide.ready)
        oldest = min(waiting, default=None)
        if oldest is not None and time.monotonic() - oldest > self.limits.answer_seconds:
            self.kill()

    def _end(self, error: OpenLLMError) -> None:
        if self.error is None:
            self.error = error
            self.socket.close()
            for guide in self._guides.values():
                guide.error = guide.error or error

    def _broken(self) -> OpenLLMError:
        return EngineError(
            f"The process that follows the {self._kind.value} has ended.", hint="Try again."
        )


def too_costly(kind: StructureKind, seconds: float) -> InvalidRequest:
    """What is said of a structure that takes more CPU for one token than it may."""
    return InvalidRequest(
        f"Following the {kind.value} takes more than {seconds:g} s of CPU for one token.",
        hint="Make it simpler: alternatives that begin alike cost most.",
        param="structure",
    )


@attrs.define(eq=False)
class Use:
    """One request's hold on a grammar, for all its choices."""

    grammar: Grammar
    _release: Callable[[Grammar], None]
    _spent: float = 0.0  # seconds of CPU
    _over: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def open(self) -> Guide:
        """A guide for one more choice."""
        return self.grammar.open(self)

    def spend(self, seconds: float) -> OpenLLMError | None:
        """Count what a mask took; an error once that is too much for one request."""
        self._spent += seconds
        most = self.grammar.limits.request_seconds
        if self._spent <= most:
            return None
        return InvalidRequest(
            f"Following the structure has taken {most:g} s of CPU, the most for one request.",
            hint="Ask for fewer tokens, or make it simpler.",
            param="structure",
        )

    def release(self) -> None:
        """The request is over. May be called again, and on any thread."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._release(self.grammar)


def exchange(guides: Iterable[Guide], seconds: float = 0.0) -> None:
    """Pass on what these guides were told, and take the masks that come within `seconds`: at most
    until each of them has one.
    """
    guides = list(guides)
    until = time.monotonic() + seconds
    grammars = {guide.use.grammar for guide in guides}
    for grammar in grammars:
        grammar.send()
        grammar.receive()
    while wait(guides, until - time.monotonic()):
        for grammar in grammars:
            grammar.receive()


def wait(guides: Iterable[Guide], seconds: float) -> bool:
    """Sleep until something has come for one of the guides that wait for a mask; False when there
    is none, or nothing came in time.
    """
    poll, some = select.poll(), False
    for grammar in {guide.use.grammar for guide in guides if not (guide.ready or guide.error)}:
        poll.register(grammar.socket, select.POLLIN)
        some = True
    return some and seconds > 0 and bool(poll.poll(seconds * 1000))
