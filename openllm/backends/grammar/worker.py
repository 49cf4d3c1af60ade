"""The process of one grammar: compiles it, then says after each token of each of its guides which
may come next.

The kernel holds it to its limits, for nothing can interrupt xgrammar: a timer of CPU time ends the
process in the middle of whatever it does, and it gets no memory beyond its share.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openllm.backends.framing import Splitter
from openllm.backends.grammar.frames import (
    Compile,
    Compiled,
    Follow,
    Frame,
    Mask,
    Refused,
    Way,
    pack,
    read_order,
)
from openllm.backends.grammar.source import compile_structure, reason
from openllm.types import Structure, StructureKind

if TYPE_CHECKING:
    from xgrammar import CompiledGrammar, GrammarMatcher, TokenizerInfo

NICE, NICEST = 10, 19  # engines go first; last of all those that have shown what they cost
MUCH_SECONDS = 0.05  # of CPU for one token
COMPILER_THREADS = 2
_RECEIVED = 2**16  # bytes at once
_STATUS = Path("/proc/self/status")

# What xgrammar raises for a source that it cannot read.
SOURCE_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, RecursionError, MemoryError)


class Worker:
    """One grammar at the end of a socket."""

    def __init__(self, sock: socket.socket, vocabulary: TokenizerInfo, *, has_end: bool) -> None:
        import xgrammar

        self._sock, self._vocabulary, self._has_end = sock, vocabulary, has_end
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocabulary.vocab_size)
        self._guides: dict[int, GrammarMatcher] = {}
        self._mask_seconds = 0.0

    def run(self) -> None:
        """Until the other end of the socket is closed."""
        _step_back(NICE)
        gc.disable()  # what is shared with the forkserver stays shared
        orders = self._orders()
        first = next(orders, None)
        if not isinstance(first, Compile):
            return
        if first.slow:
            _step_back(NICEST)
        _limit_memory(first.memory)
        self._mask_seconds = first.mask_seconds
        compiled = self._compile(first)
        if compiled is None:
            return
        for order in orders:
            if isinstance(order, Follow):
                self._follow(order, compiled)

    def _orders(self) -> Iterator[Frame]:
        splitter = Splitter()
        while data := self._sock.recv(_RECEIVED):
            yield from map(read_order, splitter.feed(data))

    def _send(self, frame: Frame) -> None:
        self._sock.sendall(pack(frame))

    def _compile(self, order: Compile) -> CompiledGrammar | None:
        structure = Structure(StructureKind(order.kind), order.value)
        try:
            with limited(order.compile_seconds):
                compiled = self._compiled(structure)
                first = self._mask(self._matcher(compiled), time.process_time())
        except SOURCE_ERRORS as error:
            full = isinstance(error, MemoryError) or "bad_alloc" in str(error)
            memory = f"it takes more than {order.memory >> 20} MiB of memory"
            self._send(Refused(memory if full else reason(error)))
        else:
            if first.way is not Way.LOST:
                self._send(Compiled(first.bits))
                return compiled
            self._send(Refused("no text matches it"))
        return None

    def _compiled(self, structure: Structure) -> CompiledGrammar:
        import xgrammar

        compiler = xgrammar.GrammarCompiler(
            self._vocabulary, max_threads=COMPILER_THREADS, cache_enabled=False
        )
        return compile_structure(compiler, structure)

    def _matcher(self, compiled: CompiledGrammar) -> GrammarMatcher:
        import xgrammar

        return xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=not self._has_end)

    def _follow(self, order: Follow, compiled: CompiledGrammar) -> None:
        for guide in order.opened:
            self._guides[guide] = self._matcher(compiled)
        for guide, token in order.accepted:
            matcher = self._guides.get(guide)
            if matcher is not None:
                self._send(self._accept(guide, matcher, token))
        for guide in order.closed:
            self._guides.pop(guide, None)

    def _accept(self, guide: int, matcher: GrammarMatcher, token: int) -> Mask:
        begun = time.process_time()
        with limited(self._mask_seconds):
            accepted = matcher.accept_token(token)
            mask = self._mask(matcher, begun) if accepted else Mask(0, 0.0, Way.LOST, None)
        mask.guide = guide
        if mask.seconds > MUCH_SECONDS:
            _step_back(NICEST)
        return mask

    def _mask(self, matcher: GrammarMatcher, begun: float) -> Mask:
        """The mask of the next token; its seconds count from `begun`."""
        if matcher.is_terminated():
            return Mask(0, time.process_time() - begun, Way.DONE, None)
        needed = matcher.fill_next_token_bitmask(self._bitmask, 0)
        way = Way.LOST if needed and not self._bitmask.any() else Way.OPEN
        bits = self._bitmask.numpy().tobytes() if needed else None
        return Mask(0, time.process_time() - begun, way, bits)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Within this context the process may use so much CPU time, all its threads together; it ends
    by SIGPROF when it has.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _step_back(nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, nice)


def _limit_memory(more: int) -> None:
    """Let this process have `more` bytes than it has. Only Linux can say what it has."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # or a disk fills with what overran
    if not _STATUS.is_file():
        return
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    held = int(fields["VmData"].split()[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or held + more < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (held + more, hard))
