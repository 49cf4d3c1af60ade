"""The short way from an engine step to the sinks: most deltas pass without vLLM building its output
objects.

vLLM's `OutputProcessor` makes a RequestOutput and a CompletionOutput per request and step, joins
them in a collector, wakes a generator that yields them to another generator. For a step that only
adds tokens to an answer, that is all work for nothing: here such a step becomes one `TokenDelta` in
the request's sink. Everything else (the first token, logprobs, the end of an answer, errors,
embeddings) takes vLLM's own way, so that its bookkeeping stays right.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from openllm.backends.base import join
from openllm.backends.vllm.deltas import Wish
from openllm.backends.vllm.failures import translate
from openllm.backends.vllm.params import choices_asked
from openllm.errors import OpenLLMError
from openllm.types import Sink, TokenDelta, TokenRequest

HELD_SECONDS = 0.1  # a token of an answer that has begun, while requests wait to be taken in


class Requests:
    """The requests that one engine has, by keys of ours: a caller's request id may come twice."""

    def __init__(self, engine: Any) -> None:
        self.by_key: dict[str, Receiver] = {}
        self.choices = 0  # of all of them
        self.closed = False  # the engine shuts down: nothing is aborted any more
        self.others_wait: Callable[[], bool] = lambda: False  # to be taken in
        self._engine = engine  # AsyncLLM
        self._numbers = itertools.count()
        self._aborts: set[asyncio.Task[None]] = set()

    def new_key(self) -> str:
        return f"{next(self._numbers)}"

    def add(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Receiver:
        """Begin to count `request`, which the engine is to get by the receiver's key."""
        receiver = Receiver(self.new_key(), request, sink, self)
        self.by_key[receiver.key] = receiver
        self.choices += receiver.choices
        return receiver

    def remove(self, receiver: Receiver) -> None:
        del self.by_key[receiver.key]
        self.choices -= receiver.choices

    def abort(self, receiver: Receiver) -> None:
        """Free what the engine holds for a request that nobody wants any more."""
        if receiver.internal_id is not None:
            self._spawn(self._engine.abort(receiver.internal_id, internal=True))
        else:  # given up while it was on its way in
            self._spawn(self._engine.abort(receiver.key))

    def abort_choice(self, receiver: Receiver, index: int) -> None:
        """The same for one of several choices: vLLM runs each as a request of its own."""
        self._spawn(self._engine.abort(f"{index}_{receiver.internal_id}", internal=True))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self.closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)


class Receiver:
    """Where vLLM puts the outputs of one request, all its choices; also the way to cancel it."""

    def __init__(
        self, key: str, request: TokenRequest, sink: Sink[TokenDelta], requests: Requests
    ) -> None:
        self.key = key
        self.internal_id: str | None = None  # vLLM's; None until it has the request
        self.choices = self._left = choices_asked(request.params)
        self._copies = range(self.choices, request.params.n)  # greedy choices are all the same
        self._wish = Wish.of(request.params)
        self._sink = sink
        self._requests = requests
        self._held: list[TokenDelta] = []
        self._over = False
        self._begun: float | None = None  # when the engine began, until that is told

    def note_begun(self, events: Sequence[Any] | None) -> None:
        """Note when vLLM's scheduler took the request up, from what its engine core tells with the
        first output.
        """
        for event in events or ():
            if event.type.name == "SCHEDULED":
                self._begun = event.timestamp
                return

    def put(self, output: Any) -> None:
        """A RequestOutput, or the exception that ended the request; vLLM calls this."""
        if isinstance(output, BaseException):
            self._fail(translate(output))
            return
        for choice in output.outputs:
            if choice.token_ids or choice.finish_reason is not None:
                self.deliver(self._wish.delta(output, choice))

    def deliver(self, delta: TokenDelta) -> None:
        """Pass a delta on, after those that are held."""
        if self._held:
            self.release()
        self._pass(delta)

    def hold(self, delta: TokenDelta) -> None:
        """Keep a delta, joined to the one before where it can be, until `release`."""
        if self._held and self._held[-1].index == delta.index:
            self._held[-1] = join(self._held[-1], delta)
        else:
            self._held.append(delta)

    def release(self) -> None:
        """Pass on what was held."""
        held, self._held = self._held, []
        for delta in held:
            self._pass(delta)

    def _pass(self, delta: TokenDelta) -> None:
        if self._over:
            return
        if delta.finish_reason is not None:
            self._left -= 1
            if not self._left:
                self._end()
        if self._begun is not None:
            delta, self._begun = msgspec.structs.replace(delta, begun=self._begun), None
        self._sink.put(delta)
        for index in self._copies:
            self._sink.put(msgspec.structs.replace(delta, index=index, prompt_logprobs=None))

    def _fail(self, error: OpenLLMError) -> None:
        self.release()
        if not self._over:
            self._end()
            self._sink.fail(error)

    def _end(self) -> None:
        self._over = True
        self._requests.remove(self)

    def cancel(self) -> None:
        if not self._over:
            self._end()
            self._requests.abort(self)

    def stop(self, index: int) -> None:
        # the only choice ends with its request
        if not self._over and self.choices > 1 and self.internal_id is not None:
            self._requests.abort_choice(self, index)


class Post:
    """Brings the deltas of engine steps to their receivers. Where more steps are waiting, their
    tokens are joined.

    So a server that is late has less to do for each token. Nothing is held beyond the loop's
    current turn; while requests wait to be taken in, for HELD_SECONDS at most.
    """

    def __init__(self, coming: asyncio.Queue[Any] | None, requests: Requests) -> None:
        # steps that are here and have not been taken; None where nobody knows
        self._coming = coming
        self._requests = requests
        self._held: list[Receiver] = []
        self._until = 0.0  # what is held goes then at the latest

    def way(self) -> Callable[[Receiver, TokenDelta], None]:
        """How the deltas that are next go to their receivers."""
        late = self._coming is not None and not self._coming.empty()
        hold = late or self._held or self._requests.others_wait()
        return self._hold if hold else Receiver.deliver

    def _hold(self, receiver: Receiver, delta: TokenDelta) -> None:
        if not self._held:
            loop = asyncio.get_running_loop()
            self._until = loop.time() + HELD_SECONDS
            loop.call_soon(self._release)
        receiver.hold(delta)
        self._held.append(receiver)

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        if self._requests.others_wait() and loop.time() < self._until:
            loop.call_soon(self._release)
            return
        held, self._held = self._held, []
        for receiver in held:
            receiver.release()


def shorten(engine: Any) -> Requests:
    """Give `engine` (an AsyncLLM that has not run yet) the short way; returns where its requests
    are to be added.

    Per-token statistics are switched off; the engine core keeps sending its scheduler's figures,
    once per step.
    """
    from vllm.v1.engine.output_processor import OutputProcessor, OutputProcessorOutput

    requests = Requests(engine)
    post = Post(getattr(engine.engine_core, "outputs_queue", None), requests)

    class ShortOutputProcessor(OutputProcessor):  # type: ignore[misc]  # vLLM is not typed for us
        """vLLM's processor, passing plain token deltas straight on."""

        def add_request(self, request: Any, *args: Any, **options: Any) -> None:
            super().add_request(request, *args, **options)
            receiver = requests.by_key.get(request.external_req_id)
            if receiver is None:  # embeddings go vLLM's way
                return
            state = self.request_states[request.request_id]
            state.queue = receiver
            state.plain = request.sampling_params.logprobs is None and state.stream_interval == 1

        def process_outputs(self, engine_core_outputs: Any, *args: Any, **options: Any) -> Any:
            put = post.way()
            rest = []
            states = self.request_states
            for output in engine_core_outputs:
                state = states.get(output.request_id)
                if state is None:
                    continue  # aborted meanwhile
                if (
                    output.finish_reason is not None
                    or state.is_prefilling
                    or not getattr(state, "plain", False)
                ):
                    if state.is_prefilling and isinstance(state.queue, Receiver):
                        state.queue.note_begun(output.events)
                    rest.append(output)
                elif output.new_token_ids:
                    put(state.queue, TokenDelta(output.new_token_ids, state.request_index))
            if rest:
                return super().process_outputs(rest, *args, **options)
            return OutputProcessorOutput(request_outputs=[], reqs_to_abort=[])

    _shorten_intake(engine.input_processor)
    engine.log_stats = engine.output_processor.log_stats = False
    # the class and not the object is replaced: what vLLM passes to its constructor differs between
    # versions
    engine.output_processor.__class__ = ShortOutputProcessor
    return requests


def _shorten_intake(processor: Any) -> None:
    """Spare each request what is the same for all, the tokenizer's end token, which transformers
    looks up by its text, and what is done already: `Requests` gives each a name of its own.
    """
    renderer = getattr(processor, "renderer", None)
    if renderer is not None and hasattr(renderer, "get_eos_token_id"):
        end = renderer.get_eos_token_id()
        renderer.get_eos_token_id = lambda: end

    def assign_request_id(request: Any) -> None:
        request.external_req_id = request.request_id
        request.request_id = f"{request.request_id}-0"

    if hasattr(processor, "assign_request_id"):
        processor.assign_request_id = assign_request_id
