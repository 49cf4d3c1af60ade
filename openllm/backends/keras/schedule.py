"""Who runs and who waits: choices in order of arrival, seated in free rows.

Plain data; the engine holds the lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from openllm.backends.keras.pool import Seat
from openllm.backends.sampler import Sampler
from openllm.errors import Overloaded
from openllm.types import Sink, TokenDelta, TokenRequest


@attrs.define(eq=False)
class Choice:
    """One answer being written."""

    request: TokenRequest
    index: int
    sink: Sink[TokenDelta]
    sampler: Sampler
    seat: Seat | None = None
    answer: list[int] = attrs.field(factory=list)
    ended: bool = False
    unwanted: bool = False  # whoever asked for it gets nothing of it any more

    @property
    def ready(self) -> bool:
        """Its prompt is in the cache, and its newest token is what the next step computes."""
        return self.seat is not None and self.seat.filled >= len(self.request.prompt_token_ids)


@attrs.define
class Schedule:
    """At most `max_rows` choices seated and `max_queue` more waiting."""

    max_rows: int
    max_queue: int
    waiting: deque[Choice] = attrs.field(factory=deque)
    running: list[Choice] = attrs.field(factory=list)

    def add(self, choices: list[Choice]) -> None:
        """Let the choices of one request wait. Errors: Overloaded, and none of them waits then."""
        busy = len(self.running) + len(self.waiting)
        if busy >= self.max_rows + self.max_queue:
            raise Overloaded(
                f"{len(self.waiting)} answers are waiting already.", hint="Try again later."
            )
        self.waiting.extend(choices)

    def seat(self) -> list[Choice]:
        """Give free rows to those who wait; all that run now."""
        free = sorted(
            set(range(self.max_rows)) - {choice.seat.row for choice in self.running if choice.seat}
        )
        for row in free[: len(self.waiting)]:
            choice = self.waiting.popleft()
            choice.seat = Seat(row, list(choice.request.prompt_token_ids))
            self.running.append(choice)
        return list(self.running)

    def drop(self, unwanted: Callable[[Choice], bool]) -> list[Choice]:
        """Take choices out wherever they are, their rows free from the next step on; those
        taken.
        """
        taken = [choice for choice in (*self.running, *self.waiting) if unwanted(choice)]
        for choice in taken:
            choice.ended = True
        self.running = [choice for choice in self.running if not choice.ended]
        self.waiting = deque(choice for choice in self.waiting if not choice.ended)
        return taken
