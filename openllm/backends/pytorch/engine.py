"""The engine thread: it alone touches the model; requests join and leave at every step; one
callback per step posts.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import attrs
import torch

from openllm.backends.base import EngineStats
from openllm.backends.grammar.guide import Guide, exchange, wait
from openllm.backends.pytorch.forward.executor import Executor
from openllm.backends.pytorch.loading.loader import EngineLimits, LoadedModel
from openllm.backends.pytorch.lora.adapters import AdapterBank
from openllm.backends.pytorch.outbox import Outbox, post_error, telling
from openllm.backends.pytorch.sampling.sampler import BatchSampler, Drawn
from openllm.backends.pytorch.scheduler import Scheduler
from openllm.backends.pytorch.sequence import Job, Sequence, expand
from openllm.backends.pytorch.steps import Outcome, StepComputer
from openllm.backends.pytorch.threads import prepare_thread
from openllm.errors import EngineDead, OpenLLMError, Overloaded
from openllm.types import FinishReason, TokenDelta

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.005  # between two looks for arrivals while all rows wait for their masks


@attrs.frozen
class Parts:
    """What an engine is made of."""

    executor: Executor
    sampler: BatchSampler
    adapters: AdapterBank
    limits: EngineLimits
    max_queue: int
    loaded: LoadedModel
    seed: int | None = None


class Engine:
    """Continuous batching over one model. `submit`, `cancel`, `call`, `stats` and `close` may be
    called anywhere.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._scheduler = Scheduler(parts.executor, parts.limits)
        self._steps = StepComputer(parts.executor, parts.sampler, parts.adapters)
        self._eos = frozenset(parts.loaded.eos_token_ids)
        self._random = random.Random(parts.seed)
        self._orders = itertools.count()
        self._wake = threading.Condition()
        self._arrivals: deque[Job] = deque()
        self._commands: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._jobs: set[Job] = set()
        self._unbegun: set[Job] = set()
        self._outbox = Outbox()
        self._leavers = False  # some job was cancelled or some choice stopped since the last step
        self._closing = False
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="openllm-pytorch", daemon=True)
        self._thread.start()

    # Called from any thread

    def submit(self, job: Job) -> None:
        """Queue a request. Errors: Overloaded, EngineDead."""
        with self._wake:
            self._require_life()
            free = max(0, self._parts.limits.max_num_seqs - len(self._scheduler.live))
            if len(self._unbegun) >= self._parts.max_queue + free:
                raise Overloaded(
                    f"{len(self._unbegun)} requests are waiting already.", hint="Try again later."
                )
            self._unbegun.add(job)
            self._jobs.add(job)
            self._arrivals.append(job)
            self._wake.notify()

    def cancel(self, job: Job) -> None:
        """Drop a request before the next step; it gets no more deltas."""
        job.cancelled = True
        if job.open_choices() or not job.sequences:
            with self._wake:
                self._leavers = True
                self._wake.notify()

    def stop(self, job: Job, index: int) -> None:
        """End one choice before the next step."""
        with self._wake:
            if job in self._jobs and index < len(job.sequences):
                job.sequences[index].stopped = self._leavers = True
                self._wake.notify()

    def call(self, command: Callable[[], Any]) -> Future[Any]:
        """Run `command` on the engine's thread between two steps. Errors: EngineDead; the future
        has the command's.
        """
        future: Future[Any] = Future()
        with self._wake:
            self._require_life()
            self._commands.append((future, command))
            self._wake.notify()
        return future

    def forget_adapter(self, key: int) -> None:
        """Drop prefixes computed with an adapter; on the engine's thread (through `call`)."""
        self._parts.executor.forget_adapter(key)

    def stats(self) -> EngineStats:
        live, executor = list(self._scheduler.live), self._parts.executor
        return EngineStats(
            running=len(live),
            waiting=len(self._scheduler.waiting)
            + sum(job.request.params.n for job in list(self._arrivals)),
            cache_usage=executor.usage(live),
            prefix_hits=executor.prefixes.hits,
            prefix_queries=executor.prefixes.queries,
            preemptions=self._scheduler.preemptions,
        )

    def close(self) -> None:
        """End live requests as cancelled and stop the thread; blocks until it has."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _require_life(self) -> None:
        if self.failure is not None:
            raise EngineDead(
                f"The pytorch engine has stopped: {self.failure}", hint="Restart the service."
            )
        if self._closing:
            raise EngineDead("The engine was closed.", hint="Start it again.")

    # On the engine's thread

    def _run(self) -> None:
        with telling(self._die):
            prepare_thread(self._parts.loaded.device)
            with torch.inference_mode():
                while self._wait_for_work():
                    self._step()
                self._end_all("cancelled")

    def _step(self) -> None:
        self._admit_arrivals()
        self._drop_leavers()
        self._run_commands()
        self._hear_guides()
        works = self._scheduler.plan()
        self._note_begun()
        if not works:
            self._await_masks()
        outcomes = self._steps.compute(works)
        self._commit(outcomes)
        for outcome in outcomes:
            self._advance(outcome)
        exchange(self._guides())  # the next masks are computed from here on
        if (
            not self._outbox.post()
        ):  # no `|=`: a reader that leaves meanwhile, on its own thread, would be overwritten
            self._leavers = True

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False once the engine is to close."""
        with self._wake:
            while not (
                self._closing
                or self._arrivals
                or self._commands
                or self._leavers
                or self._scheduler.live
                or self._scheduler.waiting
            ):
                self._wake.wait()
            return not self._closing

    def _run_commands(self) -> None:
        while self._commands:
            future, command = self._commands.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(command())
                except (OpenLLMError, RuntimeError, ValueError, TypeError, LookupError) as error:
                    future.set_exception(error)

    def _admit_arrivals(self) -> None:
        while self._arrivals:
            job = self._arrivals.popleft()
            seed = job.request.params.seed
            if seed is None:
                seed = self._random.getrandbits(62)
            sequences = expand(job, seed, [next(self._orders) for _ in range(job.request.params.n)])
            self._scheduler.add(sequences)

    def _drop_leavers(self) -> None:
        if not self._leavers:
            return
        self._leavers = False
        for sequence in [*self._scheduler.live, *self._scheduler.waiting]:
            if sequence.job.cancelled:
                self._finish(sequence, reuse=True)
            elif sequence.stopped:
                self._outbox.end(sequence, "cancelled")
                self._finish(sequence, reuse=True)

    def _guides(self) -> list[Guide]:
        return [row.guide for row in self._scheduler.live if row.guide is not None]

    def _hear_guides(self) -> None:
        """Take the masks that have come; end the rows that can be followed no further."""
        exchange(self._guides())
        for sequence in list(self._scheduler.live):
            guide = sequence.guide
            if guide is None or sequence.finished:
                continue
            if guide.error is not None:
                self._refuse(sequence.job, guide.error)
            elif guide.done:
                self._outbox.end(sequence, "stop")
                self._finish(sequence, reuse=True)

    def _await_masks(self) -> None:
        """All rows wait for their masks: sleep until one has come, and look again for arrivals."""
        wait(self._guides(), IDLE_SECONDS)

    def _note_begun(self) -> None:
        if self._unbegun:
            self._unbegun -= {job for job in self._unbegun if job.begun is not None}

    def _commit(self, outcomes: list[Outcome]) -> None:
        """Note what is in the cache now; for all rows before any of them ends, for then rows are
        moved.
        """
        for outcome in outcomes:
            if outcome.error is None:
                # what is late draws in a later step, from its last token's logits computed again
                outcome.work.sequence.computed += outcome.work.count - outcome.late

    def _advance(self, outcome: Outcome) -> None:
        """Take over what a step gave one sequence: prompt logprobs, the new token or the error."""
        sequence = outcome.work.sequence
        if outcome.error is not None:
            self._fail(sequence, outcome.error)
            return
        if outcome.prompt_logprobs:
            sequence.prompt_logprobs = (
                sequence.prompt_logprobs or [None]
            ) + outcome.prompt_logprobs
        if outcome.drawn is not None:
            self._append(sequence, outcome.drawn)

    def _append(self, sequence: Sequence, drawn: Drawn) -> None:
        token = drawn.token
        if token is None:
            self._fail(sequence, "The model's output was not a number (NaN); try another dtype.")
            return
        sequence.tokens.append(token)
        reason, stop = self._ending(sequence, token)
        if sequence.guide is not None and reason is None:
            sequence.guide.accept(token)
        first, sequence.posted = not sequence.posted, True
        delta = TokenDelta(
            [token],
            sequence.index,
            reason,
            stop,
            None if drawn.logprob is None else [drawn.logprob],
            sequence.prompt_logprobs
            if first and sequence.params.prompt_logprobs is not None
            else None,
            sequence.cached if first and sequence.index == 0 else 0,
            begun=sequence.job.begun if first else None,
        )
        self._outbox.put(sequence, delta)
        if reason is not None:
            self._finish(sequence, reuse=True)

    def _ending(self, sequence: Sequence, token: int) -> tuple[FinishReason | None, int | None]:
        """(finish_reason, stop token) after `token`; the ban before min_tokens was the
        sampler's.
        """
        params = sequence.params
        guided = sequence.guide is not None  # a grammar lets it end where the text is whole only
        if token in params.stop_token_ids and sequence.generated > params.min_tokens:
            return "stop", token
        if token in self._eos and (guided or not params.ignore_eos):
            return "stop", None
        return ("length", None) if sequence.generated >= (params.max_tokens or 0) else (None, None)

    def _fail(self, sequence: Sequence, message: str) -> None:
        self._outbox.fail(sequence, message)
        self._finish(sequence, reuse=False)

    def _refuse(self, job: Job, error: OpenLLMError) -> None:
        self._outbox.refuse(job, error)
        for sequence in job.open_choices():
            self._finish(sequence, reuse=False)

    def _finish(self, sequence: Sequence, *, reuse: bool) -> None:
        self._scheduler.remove(sequence, reuse=reuse)
        job = sequence.job
        if sequence.guide is not None:
            sequence.guide.close()
        if not job.open_choices():
            job.release()
            self._unbegun.discard(job)
            self._jobs.discard(job)

    def _end_all(self, reason: FinishReason) -> None:
        """Give every open choice its terminal delta and give up its place."""
        self._admit_arrivals()
        for job in list(self._jobs):
            for sequence in job.open_choices():
                self._outbox.end(sequence, reason)
                self._finish(sequence, reuse=False)
        self._outbox.post()
        for future, _ in self._commands:
            future.cancel()

    def _die(self, error: BaseException) -> None:
        """The thread ends by `error`: say so to everybody who waits."""
        with self._wake:
            self.failure = f"{type(error).__name__} in the engine's thread."
        log.error("the engine's thread died: %s", type(error).__name__)
        log.debug("how it died", exc_info=error)
        dead = EngineDead(
            f"The pytorch engine has stopped: {self.failure}", hint="Restart the service."
        )
        post_error(list(self._jobs), dead)
        for future, _ in self._commands:
            future.set_exception(dead)
        self._scheduler.live.clear()
        self._scheduler.waiting.clear()
