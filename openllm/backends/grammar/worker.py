"""The process of one grammar: compiles it, then says after each token of each of its guides which
may come next.

The kernel holds it to its limits, for nothing can interrupt xgrammar: a timer of CPU time ends the
process in the middle of whatever it does, and it gets no memory beyond its share.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openllm.backends.framing import Splitter
from openllm.backends.grammar.frames import (
    Compile,
    Compiled,
    Follow,
    GrammarFrame,
    Mask,
    Refused,
    Trying,
    Way,
    pack,
    read_order,
)
from openllm.backends.grammar.source import compile_written, reason, written
from openllm.errors import InvalidRequest
from openllm.types import Structure, StructureKind

if TYPE_CHECKING:
    from xgrammar import CompiledGrammar, GrammarMatcher, TokenizerInfo

# Engines go first: what masks cost is found out on the way, what compiling may cost is known.
NICE_FOLLOWING, NICE_COMPILING, NICEST = 5, 10, 19
MUCH_SECONDS = 0.02  # of CPU for one token: whoever takes more goes last of all
COMPILER_THREADS = 2
GROWTH = 64 * 2**20  # bytes that following a structure may take beyond it
_RECEIVED = 2**16  # bytes at once
_STATUS = Path("/proc/self/status")

# What is raised for a source that cannot be read: by our own compiler of schemas, by xgrammar.
SOURCE_ERRORS = (
    InvalidRequest,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    RecursionError,
    MemoryError,
)


class GrammarWorker:
    """One grammar at the end of a socket."""

    def __init__(self, sock: socket.socket, vocabulary: TokenizerInfo, *, has_end: bool) -> None:
        import xgrammar

        self._sock, self._vocabulary, self._has_end = sock, vocabulary, has_end
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocabulary.vocab_size)
        self._guides: dict[int, GrammarMatcher] = {}
        self._costly = False

    def run(self) -> None:
        """Until the other end of the socket is closed."""
        gc.disable()  # what is shared with the forkserver stays shared
        orders = self._orders()
        first = next(orders, None)
        if not isinstance(first, Compile):
            return
        compiled = self._begin(first)
        if compiled is None:
            return
        if not self._costly:
            _step_back(NICE_FOLLOWING)
        for order in orders:
            if isinstance(order, Follow):
                self._follow(order, compiled, first.mask_seconds)

    def _orders(self) -> Iterator[GrammarFrame]:
        splitter = Splitter()
        while data := self._sock.recv(_RECEIVED):
            yield from map(read_order, splitter.feed(data))

    def _send(self, frame: GrammarFrame) -> None:
        self._sock.sendall(pack(frame))

    def _begin(self, order: Compile) -> CompiledGrammar | None:
        """Compile, and try what came of it; None, and the reason is sent, where that fails."""
        before = _data()
        _limit_memory(before + order.memory)
        try:
            compiled, source = self._compiled(order)
            first = self._try(compiled, order)
        except SOURCE_ERRORS as error:
            full = isinstance(error, MemoryError) or "bad_alloc" in str(error)
            memory = f"it takes more than {order.memory >> 20} MiB of memory"
            hint = error.hint if isinstance(error, InvalidRequest) else None
            self._send(Refused(memory if full else reason(error), hint=hint or ""))
        else:
            if first.way is not Way.LOST:
                _limit_memory(_data() + GROWTH)
                self._send(Compiled(first.bits, _data() - before, source))
                return compiled
            self._send(Refused("no text matches it"))
        return None

    def _compiled(self, order: Compile) -> tuple[CompiledGrammar, str]:
        """It, and its source. On a thread of its own: one that has stepped back cannot come
        forward again.
        """
        import xgrammar

        compiler = xgrammar.GrammarCompiler(
            self._vocabulary, max_threads=COMPILER_THREADS, cache_enabled=False
        )
        structure = Structure(StructureKind(order.kind), order.value)

        def compiled() -> tuple[CompiledGrammar, str]:
            _step_back(NICE_COMPILING)
            if order.slow:
                _go_last()
            source = written(structure)
            return compile_written(compiler, source), source.value

        with limited(order.compile_seconds), ThreadPoolExecutor(1) as thread:
            return thread.submit(compiled).result()

    def _try(self, compiled: CompiledGrammar, order: Compile) -> Mask:
        """The mask of the first token. Some tokens are drawn from there on, at random but the same
        ones each time: what costs too much mostly does so soon.
        """
        self._send(Trying())
        matcher = self._matcher(compiled)
        first = mask = self._limited_mask(matcher, order.trial_seconds)
        draw = random.Random(0)
        for at in range(order.trial):
            if at % order.trial_length == 0:
                matcher, mask = self._matcher(compiled), first
            allowed = _allowed(mask, self._vocabulary.vocab_size)
            if mask.way is not Way.OPEN or not len(allowed):
                break
            token = int(allowed[draw.randrange(len(allowed))])
            mask = self._limited_mask(matcher, order.trial_seconds, token)
        return first

    def _matcher(self, compiled: CompiledGrammar) -> GrammarMatcher:
        import xgrammar

        return xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=not self._has_end)

    def _follow(self, order: Follow, compiled: CompiledGrammar, seconds: float) -> None:
        for guide in order.opened:
            self._guides[guide] = self._matcher(compiled)
        for guide, token in order.accepted:
            matcher = self._guides.get(guide)
            if matcher is not None:
                mask = self._limited_mask(matcher, seconds, token)
                mask.guide = guide
                self._send(mask)
        for guide in order.closed:
            self._guides.pop(guide, None)

    def _limited_mask(
        self, matcher: GrammarMatcher, seconds: float, token: int | None = None
    ) -> Mask:
        """What may come next, after `token` if there is one."""
        begun = time.process_time()
        with limited(seconds):
            accepted = token is None or matcher.accept_token(token)
            way, bits = self._next(matcher) if accepted else (Way.LOST, None)
        spent = time.process_time() - begun
        if spent > MUCH_SECONDS and not self._costly:
            self._costly = True
            _go_last()
        return Mask(0, spent, way, bits)

    def _next(self, matcher: GrammarMatcher) -> tuple[Way, bytes | None]:
        if matcher.is_terminated():
            return Way.DONE, None
        needed = matcher.fill_next_token_bitmask(self._bitmask, 0)
        way = Way.LOST if needed and not self._bitmask.any() else Way.OPEN
        return way, self._bitmask.numpy().tobytes() if needed else None


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


def _allowed(mask: Mask, width: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The tokens that may come, ascending."""
    if mask.bits is None:
        return np.arange(width)
    bits = np.unpackbits(np.frombuffer(mask.bits, np.uint8), count=width, bitorder="little")
    return np.flatnonzero(bits)


def _step_back(nice: int) -> None:
    """Let others go before this thread. Where only a process can, none does."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _go_last() -> None:
    """Use what nobody else wants, and one CPU of it: together, those that cost much take no more
    than that, also where a container's share of CPUs is smaller than their number.
    """
    _step_back(NICEST)
    if sys.platform == "linux":
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _data() -> int:
    """Bytes of data that this process has; 0 where only Linux could say."""
    if not _STATUS.is_file():
        return 0
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(fields["VmData"].split()[0]) * 1024


def _limit_memory(most: int) -> None:
    """Let this process have so many bytes of data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # or a disk fills with what overran
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if _STATUS.is_file() and (hard == resource.RLIM_INFINITY or most < hard):
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
