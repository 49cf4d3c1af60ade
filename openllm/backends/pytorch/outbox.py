"""The way of deltas from the engine's thread to their readers: one callback per event loop and
step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openllm.backends.base import terminal_error
from openllm.backends.pytorch.sequence import Job, Sequence
from openllm.errors import OpenLLMError
from openllm.types import FinishReason, TokenDelta


class Outbox:
    """Collects the deltas of a step."""

    def __init__(self) -> None:
        self._deltas: list[tuple[Job, TokenDelta | OpenLLMError]] = []

    def put(self, sequence: Sequence, delta: TokenDelta) -> None:
        self._deltas.append((sequence.job, delta))

    def end(self, sequence: Sequence, reason: FinishReason) -> None:
        self.put(sequence, TokenDelta([], sequence.index, reason))

    def fail(self, sequence: Sequence, message: str) -> None:
        self.put(sequence, terminal_error(sequence.index, message))

    def refuse(self, job: Job, error: OpenLLMError) -> None:
        """End all choices of a request: what it asked for cannot be done."""
        self._deltas.append((job, error))

    def post(self) -> bool:
        """Hand everything over; False when a loop was gone, and its jobs are marked as
        cancelled.
        """
        if not self._deltas:
            return True
        deltas, self._deltas = self._deltas, []
        delivered = True
        for loop in {job.loop for job, _ in deltas}:
            mine = [(job, delta) for job, delta in deltas if job.loop is loop]
            try:
                loop.call_soon_threadsafe(_deliver, mine)
            except RuntimeError:  # The loop is closed: nobody reads these any more.
                delivered = False
                for job, _ in mine:
                    job.cancelled = True
        return delivered


def post_error(jobs: list[Job], error: OpenLLMError) -> None:
    """End `jobs` with `error`."""
    for job in jobs:
        if not job.loop.is_closed():
            job.loop.call_soon_threadsafe(_fail, job, error)


class telling:  # noqa: N801 - read as a verb, like contextlib.suppress
    """Hands whatever ends the thread to `tell`, and keeps it from the interpreter's own hook."""

    def __init__(self, tell: Callable[[BaseException], None]) -> None:
        self._tell = tell

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: Any
    ) -> bool:
        if error is not None:
            self._tell(error)
        return True


def _deliver(deltas: list[tuple[Job, TokenDelta | OpenLLMError]]) -> None:
    for job, delta in deltas:
        if isinstance(delta, OpenLLMError):
            _fail(job, delta)
        elif not job.cancelled:
            job.sink.put(delta)


def _fail(job: Job, error: OpenLLMError) -> None:
    if not job.cancelled:
        job.sink.fail(error)
