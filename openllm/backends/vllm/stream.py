"""The short way from an engine step to the readers: most deltas pass without vLLM building its
output objects.

vLLM's `OutputProcessor` makes a RequestOutput and a CompletionOutput per request and step, joins
them in a collector, wakes a generator that yields them to another generator. For a step that only
adds tokens to an answer, that is all work for nothing: here such a step becomes one `TokenDelta` in
the reader's queue. Everything else (the first token, logprobs, the end of an answer, errors,
embeddings) takes vLLM's own way, so that its bookkeeping stays right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from openllm.backends.base import DeltaQueue
from openllm.backends.vllm.deltas import Wish
from openllm.backends.vllm.failures import translate
from openllm.types import Take, TokenDelta


class Sink:
    """Where vLLM puts the outputs of one request (all its choices); `deltas` is what the reader
    waits on.
    """

    __slots__ = ("deltas", "wish")

    def __init__(self, wish: Wish, take: Take | None = None) -> None:
        self.deltas = DeltaQueue(take)
        self.wish = wish

    def put(self, output: Any) -> None:
        """A RequestOutput, or the exception that ended the request."""
        if isinstance(output, BaseException):
            self.deltas.fail(translate(output))
            return
        for choice in output.outputs:
            if choice.token_ids or choice.finish_reason is not None:
                self.deltas.put(self.wish.delta(output, choice))


class Post:
    """Brings the deltas of engine steps to their queues. Where more steps are waiting, their tokens
    are joined.

    So a server that is late has less to do for each token. Nothing is held beyond the loop's
    current turn.
    """

    def __init__(self, coming: asyncio.Queue[Any] | None) -> None:
        self._coming = (
            coming  # steps that are here and have not been taken; None where nobody knows
        )
        self._held: list[DeltaQueue] = []

    def way(self) -> Callable[[DeltaQueue, TokenDelta], None]:
        """How the deltas that are next go to their queues."""
        late = self._coming is not None and not self._coming.empty()
        return self._hold if late or self._held else DeltaQueue.put

    def _hold(self, queue: DeltaQueue, delta: TokenDelta) -> None:
        if not self._held:
            asyncio.get_running_loop().call_soon(self._release)
        queue.hold(delta)
        self._held.append(queue)

    def _release(self) -> None:
        held, self._held = self._held, []
        for queue in held:
            queue.release()


def shorten(engine: Any) -> dict[str, Sink]:
    """Give `engine` (an AsyncLLM that has not run yet) the short way; returns where sinks go, by
    request id.

    Per-token statistics are switched off; the engine core keeps sending its scheduler's figures,
    once per step.
    """
    from vllm.v1.engine.output_processor import OutputProcessor, OutputProcessorOutput

    sinks: dict[str, Sink] = {}
    post = Post(getattr(engine.engine_core, "outputs_queue", None))

    class ShortOutputProcessor(OutputProcessor):  # type: ignore[misc]  # vLLM is not typed for us
        """vLLM's processor, passing plain token deltas straight on."""

        def add_request(self, request: Any, *args: Any, **options: Any) -> None:
            super().add_request(request, *args, **options)
            sink = sinks.get(request.external_req_id)
            if sink is None:  # embeddings go vLLM's way
                return
            state = self.request_states[request.request_id]
            state.queue = sink
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
                    rest.append(output)
                elif output.new_token_ids:
                    put(state.queue.deltas, TokenDelta(output.new_token_ids, state.request_index))
            if rest:
                return super().process_outputs(rest, *args, **options)
            return OutputProcessorOutput(request_outputs=[], reqs_to_abort=[])

    engine.log_stats = engine.output_processor.log_stats = False
    # the class and not the object is replaced: what vLLM passes to its constructor differs between
    # versions
    engine.output_processor.__class__ = ShortOutputProcessor
    return sinks
