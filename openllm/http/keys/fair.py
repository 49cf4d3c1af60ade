"""Which of the requests that wait goes to the engine next: a key that sends much keeps no other
waiting.

An engine serves in the order of arrival. So it is given only as many choices as it answers at
once; the others wait here, and of the keys that wait the one that has the fewest choices running
is next (max-min fairness, as in Demers, Keshav and Shenker: Analysis and Simulation of a Fair
Queueing Algorithm, 1989), of equals the one that was served longest ago. A part of the engine is
never given to one key alone, so that another's first request begins at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from openllm.answer.generation import Submit
from openllm.errors import EngineError, OpenLLMError, Overloaded
from openllm.types import Running, Sink, TokenDelta, TokenRequest

if TYPE_CHECKING:
    from openllm.llm.llm import LLM

log = logging.getLogger(__name__)

KEPT_FREE = 8  # one of so many of the engine's places, and at least one, is for other keys


class FairQueue:
    """The requests of all keys for one engine, which answers `places` choices at once."""

    def __init__(self, places: int, max_waiting: int) -> None:
        self._free = places
        self._most = max(1, places - max(1, places // KEPT_FREE))  # of one key
        self._max_waiting = max_waiting
        self._running: Counter[str] = Counter()  # choices, by key
        self._waiting: dict[str, deque[_Turn]] = {}
        self._served: dict[str, int] = {}  # when a key that is here had its last turn
        self._turns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def waiting(self, name: str) -> int:
        """Requests of a key that wait."""
        return len(self._waiting.get(name, ()))

    def through(self, name: str, submit: Submit) -> Submit:
        """`submit` of an engine, for the requests of the key `name`: they take their turn before.

        It returns at once, and raises Overloaded when more wait than the engine would let. Where
        several keys wait, each has its part of that number.
        """

        async def take_turn(request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
            turn = _Turn(self, name, request, sink, submit)
            self._enter(turn)
            return turn

        return take_turn

    def _enter(self, turn: _Turn) -> None:
        own = self.waiting(turn.name)
        others = sum(map(len, self._waiting.values())) - own
        keys = len(self._waiting) + (turn.name not in self._waiting)
        if own + others >= self._max_waiting and own >= max(1, self._max_waiting // keys):
            raise Overloaded(f"{own} requests are waiting already.", hint="Try again later.")
        self._waiting.setdefault(turn.name, deque()).append(turn)
        self._serve()

    def _serve(self) -> None:
        """Begin whatever has room."""
        while (turn := self._next()) is not None:
            turn.begun = True
            turn.choices = self._choices(turn)
            self._free -= turn.choices
            self._running[turn.name] += turn.choices
            task = asyncio.get_running_loop().create_task(turn.begin())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> _Turn | None:
        """Take out the first request of the key whose turn it is; None while it has no room."""
        able = [
            name
            for name, queue in self._waiting.items()
            if self._running[name] + self._choices(queue[0]) <= self._most
        ]
        if not able:
            return None
        name = min(able, key=lambda name: (self._running[name], self._served.get(name, 0)))
        queue = self._waiting[name]
        if self._choices(queue[0]) > self._free:
            return None  # smaller requests of other keys would take its room again and again
        turn = queue.popleft()
        self._turns += 1
        self._served[name] = self._turns
        if not queue:
            del self._waiting[name]
        return turn

    def _choices(self, turn: _Turn) -> int:
        """The places that it is counted with: of more than a key may have, the engine itself lets
        some wait.
        """
        return min(turn.request.params.n, self._most)

    def ended(self, turn: _Turn) -> None:
        """The engine is done with a request: its room goes to the next."""
        self._free += turn.choices
        self._running[turn.name] -= turn.choices
        if not self._running[turn.name]:
            del self._running[turn.name]
            if turn.name not in self._waiting:
                del self._served[turn.name]
        self._serve()

    def left(self, turn: _Turn) -> None:
        """Whoever sent a request that waits does not want it any more."""
        queue = self._waiting.get(turn.name)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            del self._waiting[turn.name]
            if turn.name not in self._running:
                self._served.pop(turn.name, None)
        self._serve()


class FairQueues:
    """A queue for each engine of one of `workers` processes, which share the engines' places."""

    def __init__(self, llms: Sequence[LLM], workers: int) -> None:
        self._llms = {llm.name: llm for llm in llms}
        self._workers = workers
        self._queues: dict[str, FairQueue] = {}

    def through(self, model: str, name: str, submit: Submit) -> Submit:
        """`submit` of the engine of `model`, which is started, after the key `name` has had its
        turn. An engine that does not say how much it answers at once has its own order.
        """
        queue = self._queues.get(model)
        if queue is None:
            llm = self._llms[model]
            places = llm.info.max_concurrency or llm.spec.max_num_seqs
            if not places:
                return submit
            queue = FairQueue(max(1, places // self._workers), llm.spec.max_queue)
            self._queues[model] = queue
        return queue.through(name, submit)

    def waiting(self, name: str) -> int:
        """Requests of a key that wait, for whichever engine."""
        return sum(queue.waiting(name) for queue in self._queues.values())


class _Turn:
    """One request: it waits, then runs. A sink, to see its choices end."""

    def __init__(
        self,
        queue: FairQueue,
        name: str,
        request: TokenRequest,
        sink: Sink[TokenDelta],
        submit: Submit,
    ) -> None:
        self.name = name
        self.request = request
        self.begun = False
        self.choices = 0  # places in the engine that it has
        self._queue = queue
        self._sink = sink
        self._submit = submit
        self._running: Running | None = None
        self._left = set(range(request.params.n))
        self._unwanted: list[int] = []  # choices that ended before the engine had said it has them
        self._cancelled = False

    async def begin(self) -> None:
        """Let the engine have it; an error goes where the answer would have gone."""
        if self._cancelled:
            return
        try:
            running = self._running = await self._submit(self.request, self)
        except Exception as error:  # noqa: BLE001  whoever waits for the answer gets it
            self.fail(error if isinstance(error, OpenLLMError) else self._defect(error))
            return
        if self._cancelled:
            running.cancel()
        for index in self._unwanted:
            running.stop(index)

    def _defect(self, error: Exception) -> OpenLLMError:
        kind = type(error).__name__
        log.error("%s: unexpected %s while it was begun", self.request.request_id, kind)
        log.debug("%s: unexpected error", self.request.request_id, exc_info=error)
        return EngineError("Something went wrong while the request was begun.")

    def put(self, delta: TokenDelta) -> None:
        self._sink.put(delta)
        if delta.finish_reason is not None:
            self._ended(delta.index)

    def fail(self, error: OpenLLMError) -> None:
        self._sink.fail(error)
        self._over()

    def cancel(self) -> None:
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()
        self._over()

    def stop(self, index: int) -> None:
        if self._running is not None:
            self._running.stop(index)
        else:
            self._unwanted.append(index)
        self._ended(index)

    def _ended(self, index: int) -> None:
        self._left.discard(index)
        if not self._left:
            self._over()

    def _over(self) -> None:
        if not self.begun:
            self._queue.left(self)
        elif self.choices:
            self._queue.ended(self)
            self.choices = 0
