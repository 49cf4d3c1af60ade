"""Requests through an LLM: admitted, then drained into one answer or streamed delta by delta;
cancelled as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, Protocol

import attrs
import msgspec

from openllm.answer.generation import Generation, collect, raise_failure
from openllm.errors import Overloaded
from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.metrics import Meter
from openllm.http.outlet import Outlet, direct
from openllm.types import GenerationOutput, GenerationRequest, Prompt, TextDelta, Usage

_LAG = 64  # deltas that the prompts of one request may be ahead of its reader


class Wire(Protocol):
    """How one protocol writes one request's answer."""

    def opening(self) -> bytes:
        """What a stream begins with."""

    def delta(self, delta: TextDelta) -> bytes:
        """One delta; b"" when there is nothing to say."""

    def closing(self, usage: Usage) -> bytes:
        """What a stream ends with."""

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        """The whole answer, one output per prompt."""


Deltas = Generation | AsyncGenerator[TextDelta, None]


@attrs.frozen
class Work:
    """What one HTTP request asks of a model: prompts, all with the same sampling."""

    target: Target
    prompts: Sequence[Prompt]
    overrides: dict[str, Any]  # by the names of SamplingParams
    stream: bool = False
    add_special_tokens: bool = True


async def respond(exchange: Exchange, work: Work, wire: Wire) -> None:
    """Do `work` and write the answer. The engine stops when the client leaves or the time allowed
    is over.
    """
    exchange.model = work.target.llm.name
    seconds = exchange.settings.request_seconds
    try:
        async with (
            exchange.client_present(),
            asyncio.timeout(seconds or None),
            AsyncExitStack() as stack,
        ):
            generations = await _admit(work, stack)
            if work.stream:
                # a task of its own: a token that is not diverted would wake it through a dozen
                # callers
                await asyncio.create_task(_stream(exchange, wire, generations))
            else:
                outputs = await _drain(exchange, generations)
                await exchange.answer(200, wire.answer(outputs))
    except TimeoutError:
        raise Overloaded(
            f"The answer was not complete within {seconds:g} seconds.", hint="Ask for fewer tokens."
        ) from None


async def _admit(work: Work, stack: AsyncExitStack) -> list[Generation]:
    """Every prompt checked before any is begun; `stack` closes them all. Errors: those of
    `LLM.admit`.
    """
    llm = work.target.llm
    params = llm.sampling_params(**work.overrides)
    generations = []
    for prompt in work.prompts:
        request = GenerationRequest(
            prompt, params, work.target.adapter, add_special_tokens=work.add_special_tokens
        )
        generation = await llm.admit(request)
        stack.push_async_callback(generation.aclose)
        generations.append(generation)
    return generations


async def _stream(exchange: Exchange, wire: Wire, generations: Sequence[Generation]) -> None:
    meter = _meter(exchange, generations)
    outlet = Outlet(exchange.send, meter.count, wire.delta)
    try:
        async with aclosing(_merged(generations)) as deltas:
            first = await anext(deltas)  # until it is here, an error can still be a status
            meter.count(first)
            raise_failure(first)
            await exchange.begin_stream()
            body = wire.opening() + wire.delta(first)
            await exchange.send({"type": "http.response.body", "body": body, "more_body": True})
            if len(generations) == 1 and generations[0].plain and direct(exchange.send):
                generations[0].divert(outlet)
            async for delta in deltas:  # what has not been diverted
                await outlet.settle()
                if delta.finish_reason is not None:
                    raise_failure(delta)
                outlet.write(delta)
                await outlet.settle()
        await exchange.end_stream(wire.closing(_total(generations)))
    finally:
        outlet.close()
        meter.close(generation.usage for generation in generations)


def _meter(exchange: Exchange, generations: Sequence[Generation]) -> Meter:
    """Begin to count; the prompts wait from here. Errors: Overloaded."""
    ticket = exchange.shared.queue.enter(
        sum(len(generation.prompt_token_ids) for generation in generations)
    )
    return Meter(exchange.metrics, exchange.model, exchange.started, ticket)


def _total(generations: Sequence[Generation]) -> Usage:
    return total_usage([generation.usage for generation in generations])


def total_usage(usages: Sequence[Usage]) -> Usage:
    """The usage of several prompts as one request's."""
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )


async def _drain(exchange: Exchange, generations: Sequence[Generation]) -> list[GenerationOutput]:
    meter = _meter(exchange, generations)
    try:
        if len(generations) == 1:
            return [await collect(generations[0], meter.count)]
        n = generations[0].request.params.n
        notes = [partial(meter.count, base=at * n) for at in range(len(generations))]
        tasks = [
            asyncio.create_task(collect(*pair)) for pair in zip(generations, notes, strict=True)
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancel(tasks)
    finally:
        meter.close(generation.usage for generation in generations)


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _merged(generations: Sequence[Generation]) -> Deltas:
    """The deltas of all prompts as they come; choice j of prompt i has index i * n + j."""
    return generations[0] if len(generations) == 1 else _interleave(generations)


async def _interleave(generations: Sequence[Generation]) -> AsyncGenerator[TextDelta, None]:
    ready: asyncio.Queue[TextDelta | None] = asyncio.Queue()  # None: one generation has ended
    room = asyncio.Semaphore(_LAG)

    async def pump(generation: Generation, base: int) -> None:
        try:
            async for delta in generation:
                await room.acquire()
                ready.put_nowait(msgspec.structs.replace(delta, index=base + delta.index))
        finally:
            ready.put_nowait(None)

    n = generations[0].request.params.n
    tasks = [
        asyncio.create_task(pump(generation, at * n)) for at, generation in enumerate(generations)
    ]
    live = len(tasks)
    try:
        while live:
            delta = await ready.get()
            if delta is not None:
                room.release()
                yield delta
                continue
            live -= 1
            for task in tasks:
                if task.done():
                    task.result()  # raises what ended it
    finally:
        await _cancel(tasks)
