"""The grammars of one engine: compiled off its event loop, in bounded time and memory, and kept
while they are used and a while after.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import threading
from collections import OrderedDict
from typing import NoReturn

import attrs
import msgspec

from openllm.backends.framing import Splitter
from openllm.backends.grammar.forkserver import FORKSERVER, Process
from openllm.backends.grammar.frames import (
    Compile,
    Compiled,
    Died,
    FromServer,
    Refused,
    Trying,
    Vocabulary,
    pack,
    read_answer,
)
from openllm.backends.grammar.guide import Grammar, Use, too_costly
from openllm.backends.grammar.limits import GrammarLimits
from openllm.backends.grammar.source import check_source
from openllm.errors import (
    EngineError,
    InvalidRequest,
    OpenLLMError,
    Overloaded,
    UnsupportedFeature,
)
from openllm.types import Structure, StructureKind

IDLE = 32  # grammars that nobody uses and that are kept
IN_USE = 256  # that are used at once: each is a process
REFUSED = 64  # structures of which it is known that they cost too much
CHECKED = 256  # structures that were found right for an engine of another kind
QUICK, SLOW = 4, 2  # structures that compile at once
WAIT_SECONDS = 20.0  # by the clock, for one's turn to compile
_RECEIVED = 2**18  # bytes at once


@attrs.define(eq=False)
class _Compilation:
    """One structure that is being compiled, and how many requests wait for it."""

    task: asyncio.Task[Grammar]
    waiters: int = 0


class GrammarStore:
    """Compiles structures for one model and keeps the last ones. Lives on one event loop; only
    what `use` gives is released elsewhere.
    """

    def __init__(self, vocabulary: Vocabulary, limits: GrammarLimits | None = None) -> None:
        self._vocabulary, self._limits = vocabulary, limits or GrammarLimits()
        # most structures take milliseconds: those that take seconds wait for each other only
        self._quick, self._slow = asyncio.Semaphore(QUICK), asyncio.Semaphore(SLOW)
        self._kept: OrderedDict[Structure, Grammar] = OrderedDict()
        self._pending: dict[Structure, _Compilation] = {}
        self._refused: OrderedDict[Structure, OpenLLMError] = OrderedDict()  # for what they cost
        self._checked: OrderedDict[Structure, Structure] = OrderedDict()
        self._lock = threading.Lock()  # of the counts of users

    async def use(self, structure: Structure) -> Use:
        """A hold on the compiled structure. Errors: InvalidRequest, Overloaded,
        UnsupportedFeature, EngineError.
        """
        if importlib.util.find_spec("xgrammar") is None:
            raise UnsupportedFeature(
                "Structured output needs xgrammar.", hint="Run: pip install xgrammar"
            )
        check_source(structure)
        if structure in self._refused:
            raise self._refused[structure].with_traceback(None)
        grammar = self._kept.get(structure)
        if grammar is not None and grammar.error is not None:
            if grammar.overran:  # for another request: it would do so again
                self._refuse(structure, grammar.error)
            grammar = None
        return self._hold(structure, grammar or await self._compiled(structure))

    async def check(self, structure: Structure) -> Structure:
        """The same as a grammar or a regular expression, once it has been compiled and tried: for
        an engine that follows it by other means. Errors: those of `use`.
        """
        found = self._checked.get(structure)
        if found is None:
            use = await self.use(structure)
            regex = structure.kind is StructureKind.REGEX
            kind = StructureKind.REGEX if regex else StructureKind.GRAMMAR
            found = self._checked[structure] = Structure(kind, use.grammar.source)
            use.release()
            self._end(structure)
        self._checked.move_to_end(structure)
        while len(self._checked) > CHECKED:
            self._checked.popitem(last=False)
        return found

    def _end(self, structure: Structure) -> None:
        """End a grammar's process if nobody uses it."""
        with self._lock:
            grammar = self._kept.get(structure)
            if grammar is not None and not grammar.users:
                self._kept.pop(structure).kill()

    def close(self) -> None:
        """End all processes."""
        for compilation in self._pending.values():
            compilation.task.cancel()
        for grammar in self._kept.values():
            grammar.kill()
        self._kept.clear()

    def _refuse(self, structure: Structure, error: OpenLLMError) -> NoReturn:
        """Raise what it will get at once from now on."""
        self._refused[structure] = error
        while len(self._refused) > REFUSED:
            self._refused.popitem(last=False)
        raise error

    def _hold(self, structure: Structure, grammar: Grammar) -> Use:
        with self._lock:
            grammar.users += 1
            self._kept[structure] = grammar
            self._kept.move_to_end(structure)
            self._drop_idle()
            over = sum(kept.size for kept in self._kept.values()) > self._limits.total_memory
            if over and grammar.users == 1:
                self._kept.pop(structure).kill()
                raise _busy("The structures in use take all memory that there is for them.")
        return Use(grammar, self._release)

    def _drop_idle(self) -> None:
        """End the oldest that nobody uses, until few enough are left and all have room."""
        idle = [held for held, kept in self._kept.items() if not kept.users]
        size = sum(kept.size for kept in self._kept.values())
        for at, oldest in enumerate(idle):
            if len(idle) - at <= IDLE and size <= self._limits.total_memory:
                break
            dropped = self._kept.pop(oldest)
            size -= dropped.size
            dropped.kill()

    def _release(self, grammar: Grammar) -> None:
        with self._lock:
            grammar.users -= 1

    async def _compiled(self, structure: Structure) -> Grammar:
        """Join those who wait for this structure already; the last one that leaves stops it."""
        pending = self._pending.get(structure)
        if pending is None:
            pending = _Compilation(asyncio.create_task(self._compile(structure)))
            self._pending[structure] = pending
            pending.task.add_done_callback(lambda task: self._forget(structure, task))
        pending.waiters += 1
        try:
            return await asyncio.shield(pending.task)
        finally:
            pending.waiters -= 1
            if not pending.waiters:
                pending.task.cancel()
                self._forget(structure, pending.task)

    def _forget(self, structure: Structure, task: asyncio.Task[Grammar]) -> None:
        pending = self._pending.get(structure)
        if pending is not None and pending.task is task:
            del self._pending[structure]

    async def _compile(self, structure: Structure) -> Grammar:
        if sum(grammar.users > 0 for grammar in self._kept.values()) >= IN_USE:
            raise _busy(f"{IN_USE} different structures are in use.")
        grammar = await self._attempt(structure, slow=False)
        if grammar is None:
            grammar = await self._attempt(structure, slow=True)
        if grammar is None:
            seconds = self._limits.compile_seconds
            self._refuse(structure, _too_long(structure.kind, seconds))
        with self._lock:  # even if those who wait for it leave at this very moment
            self._kept[structure] = grammar
        return grammar

    async def _attempt(self, structure: Structure, *, slow: bool) -> Grammar | None:
        """Compile in its turn; None when it takes more CPU than its lane has."""
        lane = self._slow if slow else self._quick
        try:
            await asyncio.wait_for(lane.acquire(), WAIT_SECONDS)
        except TimeoutError:
            raise _busy("All grammar compilers are busy.") from None
        try:
            process, answer = await self._begin(self._order(structure, slow=slow))
        except TimeoutError:
            raise _busy("The grammar compilers do not come to an end.") from None
        finally:
            lane.release()
        if isinstance(answer, Compiled):
            return Grammar(process, structure.kind, answer, self._limits)
        process.kill()
        if isinstance(answer, Trying):
            self._refuse(structure, too_costly(structure.kind, self._limits.trial_seconds))
        if isinstance(answer, Died) and answer.signal == signal.SIGPROF:
            return None
        raise _refusal(structure.kind, answer)

    def _order(self, structure: Structure, *, slow: bool) -> Compile:
        limits = self._limits
        seconds = limits.compile_seconds if slow else limits.quick_seconds
        kind, value = structure.kind.value, structure.value
        return Compile(
            kind=kind,
            value=value,
            slow=slow,
            compile_seconds=seconds,
            trial=limits.trial,
            trial_length=limits.trial_length,
            trial_seconds=limits.trial_seconds,
            mask_seconds=limits.mask_seconds,
            memory=limits.memory,
        )

    async def _begin(self, order: Compile) -> tuple[Process, FromServer]:
        """A process, and its first answer. Errors: TimeoutError."""
        process, answer = await self._try(order)
        if answer is None:  # the forkserver has ended: there is another one now
            process.kill()
            process, answer = await self._try(order)
        return process, answer or Died(0)

    async def _try(self, order: Compile) -> tuple[Process, FromServer | None]:
        process = FORKSERVER.fork(self._vocabulary)
        try:
            asking = self._ask(process, order)
            return process, await asyncio.wait_for(asking, self._limits.answer_seconds)
        except BaseException:
            process.kill()
            raise

    async def _ask(self, process: Process, order: Compile) -> FromServer | None:
        """What came of it; `Trying` when it has overrun there, None when it has not even begun."""
        loop, splitter, trying = asyncio.get_running_loop(), Splitter(), None
        with contextlib.suppress(OSError):  # it has ended, and may have said why
            await loop.sock_sendall(process.sock, pack(order))
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError):
            while data := await loop.sock_recv(process.sock, _RECEIVED):
                for answer in map(read_answer, splitter.feed(data)):
                    overran = isinstance(answer, Died) and answer.signal == signal.SIGPROF
                    if not isinstance(answer, Trying):
                        return trying if trying and overran else answer
                    trying = answer
        return None


def _refusal(kind: StructureKind, answer: FromServer) -> OpenLLMError:
    """What an answer other than `Compiled` means to who asked."""
    if isinstance(answer, Refused) and not answer.supported:
        return UnsupportedFeature("The model's tokenizer does not suit structured output.")
    hint = "Correct it."
    if isinstance(answer, Refused):
        reason, hint = answer.reason, answer.hint or hint
    elif isinstance(answer, Died) and answer.signal in (signal.SIGSEGV, signal.SIGABRT):
        reason = "the compiler fails on it, or runs out of memory"
    else:
        return EngineError("The process that compiles grammars has ended.", hint="Try again.")
    return InvalidRequest(
        f"The {kind.value} cannot be compiled: {reason}.", hint=hint, param="structure"
    )


def _too_long(kind: StructureKind, seconds: float) -> OpenLLMError:
    return InvalidRequest(
        f"The {kind.value} takes more than {seconds:g} s of CPU to compile.",
        hint="Make it simpler.",
        param="structure",
    )


def _busy(what: str) -> Overloaded:
    return Overloaded(what, hint="Try again later.", retry_after=5)
