"""Say what the next step computes: every decoding row, then prompt tokens up to a budget, first
come first served among those of one priority.
"""

from __future__ import annotations

import time
from collections import deque

from openllm.backends.pytorch.forward.executor import Executor
from openllm.backends.pytorch.loading.loader import EngineLimits
from openllm.backends.pytorch.sequence import Sequence, StepWork

LOGITS_AT_ONCE = 256  # prompt positions whose logits are held in memory together


class Scheduler:
    """Who waits, who is live, who gave way. Every method runs on the engine's thread."""

    def __init__(self, executor: Executor, limits: EngineLimits) -> None:
        self._executor, self._limits = executor, limits
        self.waiting: deque[Sequence] = deque()  # the lowest priority first, then as they came
        self.live: list[Sequence] = []
        self.preemptions = 0

    def add(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            if not self.waiting or self.waiting[-1].priority <= sequence.priority:
                self.waiting.append(sequence)
            else:
                self._queue_before(sequence, sequence.priority + 1)

    def _queue_before(self, sequence: Sequence, priority: int) -> None:
        """Let it wait right before the first that has this priority, or a higher number."""
        places = (at for at, other in enumerate(self.waiting) if other.priority >= priority)
        self.waiting.insert(next(places, len(self.waiting)), sequence)

    def plan(self) -> list[StepWork]:
        """The next step's work. Every decoding row is in it unless it had to give up its place, or
        waits for its mask.
        """
        works = [StepWork(sequence, 1) for sequence in self._decoding()]
        budget = self._limits.prefill_tokens
        for sequence in [sequence for sequence in self.live if sequence.remaining > 1]:
            budget -= self._add_chunk(works, sequence, budget)
        while budget > 0 and (newcomer := self._next_waiting()) is not None:
            budget -= self._add_chunk(works, newcomer, budget)
        return works

    def remove(self, sequence: Sequence, *, reuse: bool) -> None:
        """Take a finished or failed sequence out, wherever it is; `reuse` keeps its prefix for
        later prompts.
        """
        sequence.finished = True
        if sequence in self.live:
            self.live.remove(sequence)
            self._executor.release(sequence, reuse=reuse)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def _decoding(self) -> list[Sequence]:
        """Rows with one token to compute, each with room for it; the youngest give way when memory
        is short.
        """
        for sequence in list(self.live):
            while not self._executor.extend(sequence):
                self._preempt(self._least_urgent())
        return [
            sequence
            for sequence in self.live
            if sequence.remaining == 1 and not sequence.waits_for_mask
        ]

    def _least_urgent(self) -> Sequence:
        """The youngest of those whose priority is the highest number."""
        return max(self.live, key=lambda sequence: (sequence.priority, sequence.order))

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the head of its priority's queue; what it has written so far is computed again as
        part of its prompt.
        """
        self.live.remove(sequence)
        self._executor.release(sequence, reuse=False)
        sequence.computed, sequence.prompt_logprobs = 0, None
        self._queue_before(sequence, sequence.priority)
        self.preemptions += 1

    def _next_waiting(self) -> Sequence | None:
        """Make the first waiting sequence that may begin live; None when there is none or no room
        for it.
        """
        if len(self.live) >= self._limits.max_num_seqs:
            return None
        ready = next((sequence for sequence in self.waiting if not sequence.waits_for_prompt), None)
        if ready is None or not self._executor.begin(ready):
            return None
        self.waiting.remove(ready)
        self.live.append(ready)
        if ready.job.begun is None:
            ready.job.begun = time.monotonic()
        return ready

    def _add_chunk(self, works: list[StepWork], sequence: Sequence, budget: int) -> int:
        wanted = sequence.remaining - sequence.waits_for_mask
        wanted_logprobs = sequence.params.prompt_logprobs is not None and not sequence.posted
        asked = wanted_logprobs and sequence.index == 0
        unknown = asked and sequence.computed + 1 < sequence.prompt_length
        most = min(budget, LOGITS_AT_ONCE) if unknown else budget
        count = self._executor.portion(sequence, wanted, most) if wanted > 0 else 0
        if count > 0:
            works.append(StepWork(sequence, count, all_logits=unknown))
        return max(count, 0)
