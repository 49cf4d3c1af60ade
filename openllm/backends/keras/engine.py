"""The thread that owns the model: seats requests, computes one step for all of them, hands out what
came of it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable

import attrs
import numpy as np

from openllm.backends.base import EngineStats, terminal_error
from openllm.backends.keras.pool import Pool
from openllm.backends.keras.runtime import Logits, Runtime
from openllm.backends.keras.schedule import Choice, Schedule
from openllm.backends.sampler import Sampler, token_logprob
from openllm.errors import EngineDead
from openllm.types import FinishReason, Sink, TokenDelta, TokenRequest

Mail = list[tuple[Choice, TokenDelta]]


@attrs.frozen
class Capacity:
    """What the engine may hold."""

    max_len: int  # tokens of one row
    max_rows: int
    max_queue: int
    end_tokens: tuple[int, ...]
    seed: int | None = None  # of requests that bring none


class KerasEngine:
    """Runs from its making until `close`. `submit`, `drop` and `close` are called on `loop`'s
    thread.
    """

    def __init__(self, runtime: Runtime, limits: Capacity, loop: asyncio.AbstractEventLoop) -> None:
        self._runtime = runtime
        self._limits = limits
        self._loop = loop
        self._pool = Pool(runtime, limits.max_len)
        self._schedule = Schedule(limits.max_rows, limits.max_queue)
        self._seeds = np.random.default_rng(limits.seed)
        self._turn = threading.Condition()  # guards the schedule
        self._stopping = False
        self._mail: Mail = []
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._live, name="openllm-keras", daemon=True)
        self._thread.start()

    def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> list[Choice]:
        """Take all choices of `request`, which are returned; their deltas go to `sink`.

        Errors: Overloaded, EngineDead.
        """
        if self._stopping or self.failure:
            raise EngineDead(
                f"The engine has stopped: {self.failure or 'it was closed'}.",
                hint="Restart the service.",
            )
        params = request.params
        base = int(self._seeds.integers(2**63)) if params.seed is None else params.seed
        choices = [
            Choice(request, at, sink, self._sampler(request, base + at)) for at in range(params.n)
        ]
        with self._turn:
            self._schedule.add(choices)
            self._turn.notify()
        return choices

    def _sampler(self, request: TokenRequest, seed: int) -> Sampler:
        ends = self._limits.end_tokens
        prompt, bad = request.prompt_token_ids, request.bad_token_ids
        return Sampler(request.params, prompt, ends, seed, bad)

    def give_up(self, choices: Iterable[Choice]) -> None:
        """Free what these choices hold; they get no further delta."""
        for choice in choices:
            choice.unwanted = True
        self._drop(lambda choice: choice.unwanted)

    def _drop(self, which: Callable[[Choice], bool]) -> None:
        with self._turn:
            self._schedule.drop(which)

    def stats(self) -> EngineStats:
        with self._turn:
            running, waiting = list(self._schedule.running), len(self._schedule.waiting)
        held = sum(choice.seat.filled for choice in running if choice.seat)
        capacity = self._limits.max_rows * self._limits.max_len
        return EngineStats(len(running), waiting, min(1.0, held / capacity))

    def close(self) -> None:
        """Stop the thread (blocking); live choices end with "cancelled"."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        self._thread.join()

    def _live(self) -> None:
        try:
            while (running := self._next_turn()) is not None:
                self._step(running)
        finally:
            error = sys.exc_info()[1]  # a defect; it goes on to the thread's own error report
            self._end_all(None if error is None else repr(error))
            self._pool.clear()

    def _next_turn(self) -> list[Choice] | None:
        """All choices that have a row, once there are any; None when the engine is to stop."""
        with self._turn:
            while not self._stopping:
                if running := self._schedule.seat():
                    return running
                self._pool.clear()
                self._turn.wait()
        return None

    def _step(self, running: list[Choice]) -> None:
        try:
            self._prefill(running)
            self._decode(running)
        except self._runtime.failures as error:
            self._pool.clear()  # a step that failed may have lost the cache
            self._fail(running, f"The {self._runtime.framework} engine failed: {error}")
        self._post()

    def _prefill(self, running: list[Choice]) -> None:
        """One chunk of the first prompt that is not in the cache; one chunk only, so that the
        others go on.
        """
        choice = next((choice for choice in running if not choice.ready), None)
        if choice is None or choice.seat is None:
            return
        logits = self._pool.prefill(choice.seat, [other.seat for other in running if other.seat])
        if logits is not None:
            self._extend(choice, logits)

    def _decode(self, running: list[Choice]) -> None:
        """One more token for every choice whose prompt is in the cache."""
        ready = [choice for choice in running if choice.ready and not choice.ended]
        if not ready:
            return
        seats = [choice.seat for choice in running if choice.seat]
        rows = self._pool.decode([choice.seat for choice in ready if choice.seat], seats)
        for choice, logits in zip(ready, rows, strict=True):
            self._extend(choice, logits)

    def _extend(self, choice: Choice, logits: Logits) -> None:
        """Sample a token for `choice` and end it if that is its last."""
        if choice.ended or choice.seat is None:  # dropped while the step ran
            return
        if not np.isfinite(logits.max()):
            self._fail([choice], "The model's logits are not finite.")
            return
        params = choice.request.params
        token = choice.sampler.pick(logits, choice.answer)
        reason, stop = self._reason(choice, token)
        choice.answer.append(token)
        choice.seat.token_ids.append(token)
        logprobs = (
            None if params.logprobs is None else [token_logprob(logits, token, params.logprobs)]
        )
        if reason is not None:
            self._drop(lambda other: other is choice)
        self._mail.append((choice, TokenDelta([token], choice.index, reason, stop, logprobs)))

    def _reason(self, choice: Choice, token: int) -> tuple[FinishReason | None, int | None]:
        """Why `token` is the last one, if it is, and the stop token it is."""
        params, size = choice.request.params, len(choice.answer)
        if size >= params.min_tokens:
            if token in self._limits.end_tokens and not params.ignore_eos:
                return "stop", None
            if token in params.stop_token_ids:
                return "stop", token
        full = size + 1 + len(choice.request.prompt_token_ids) >= self._limits.max_len
        return ("length" if full or size + 1 >= (params.max_tokens or 1) else None), None

    def _fail(self, choices: list[Choice], why: str) -> None:
        live = [choice for choice in choices if not choice.ended]
        self._drop(lambda choice: choice in live)
        self._mail.extend((choice, terminal_error(choice.index, why)) for choice in live)

    def _end_all(self, death: str | None) -> None:
        """The last act of the thread: every choice ends, as cancelled or with what killed the
        engine.
        """
        with self._turn:
            self._stopping = True
            self.failure = death
            left = self._schedule.drop(lambda choice: True)
        if death is None:
            self._mail.extend(
                (choice, TokenDelta([], choice.index, "cancelled")) for choice in left
            )
        self._post()
        if death is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_bury, left, death)

    def _post(self) -> None:
        mail, self._mail = self._mail, []
        if self._loop.is_closed():  # nobody can read any more
            self._stopping = True
        elif mail:
            self._loop.call_soon_threadsafe(_deliver, mail)


def _deliver(mail: Mail) -> None:
    for choice, delta in mail:
        if not choice.unwanted:
            choice.sink.put(delta)


def _bury(choices: list[Choice], why: str) -> None:
    for sink in {
        id(choice.sink): choice.sink for choice in choices if not choice.unwanted
    }.values():
        sink.fail(EngineDead(f"The engine has stopped: {why}.", hint="Restart the service."))
