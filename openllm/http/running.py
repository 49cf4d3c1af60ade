"""Requests through an LLM: admitted, then put together into one answer or streamed; cancelled as
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import attrs

from openllm.answer.generation import Generation, collect
from openllm.errors import Overloaded, RateLimited, RequestCancelled
from openllm.http.catalog import Target
from openllm.http.exchange import Exchange
from openllm.http.facts import running_facts
from openllm.http.live import LiveRequest
from openllm.http.metrics import Meter
from openllm.http.stream import Stream, Writer
from openllm.types import (
    AnswerDelta,
    GenerationOutput,
    GenerationRequest,
    Prompt,
    Reading,
    RequestOptions,
    Usage,
)

Note = Callable[[AnswerDelta], object]


class Wire(Writer, Protocol):
    """How one protocol writes one request's answer."""

    def closing(self, usage: Usage) -> bytes:
        """What a stream ends with."""

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        """The whole answer, one output per prompt."""


@attrs.frozen
class Work:
    """What one HTTP request asks of a model: prompts, all with the same sampling."""

    target: Target
    prompts: Sequence[Prompt]
    overrides: dict[str, Any]  # by the names of SamplingParams
    stream: bool = False
    add_special_tokens: bool = True
    # None: in the formats that the model has
    reading: Reading | None = attrs.field(factory=Reading)
    options: RequestOptions = attrs.field(factory=RequestOptions)
    # told of what was admitted, before any of it begins
    admitted: Callable[[Sequence[Generation]], None] | None = None
    # sees each delta of a single answer that is written whole; None: nobody needs to
    note: Note | None = None
    # what is to be done of an answer before its client hears that it is complete
    before_end: Callable[[], Awaitable[None]] | None = None


async def respond(exchange: Exchange, work: Work, wire: Wire) -> None:
    """Do `work` and write the answer. The engine stops when the client leaves or the time allowed
    is over.
    """
    async with exchange.client_present(), _time_allowed(exchange):
        generations = await admit(exchange, work)
        if work.admitted is not None:
            work.admitted(generations)
        if work.stream:
            await _stream(exchange, wire, generations, work.before_end)
        else:
            outputs = await _drain(exchange, generations, work.note)
            whole = wire.answer(outputs)
            if work.before_end is not None:
                await work.before_end()
            await exchange.answer(200, whole)


async def finished(
    exchange: Exchange, generations: Sequence[Generation], note: Note | None = None
) -> list[GenerationOutput]:
    """The whole answer to what an exchange, which may be over, has asked. Errors: of `respond`."""
    async with _time_allowed(exchange):
        return await _drain(exchange, generations, note)


@asynccontextmanager
async def _time_allowed(exchange: Exchange) -> AsyncIterator[None]:
    """Errors: Overloaded where the block takes longer."""
    seconds = exchange.settings.request_seconds
    time = asyncio.timeout(seconds or None)
    live = LiveRequest(exchange.caller, time, partial(running_facts, exchange))
    try:
        with exchange.shared.live.entered(exchange.request_id, live):
            async with time:
                yield
    except TimeoutError:
        if live.cancelled:
            raise RequestCancelled("The request was cancelled.") from None
        raise Overloaded(
            f"The answer was not complete within {seconds:g} seconds.", hint="Ask for fewer tokens."
        ) from None


async def admit(exchange: Exchange, work: Work) -> list[Generation]:
    """Every prompt checked before any is begun; a max_tokens beyond the room is cut to it, unless
    the operator wants it refused. Errors: those of `LLM.admit`.
    """
    llm = work.target.llm
    exchange.model = llm.name
    if work.options.priority and not llm.info.priorities:
        exchange.pass_over("priority", "the engine serves in the order of arrival")
    params = llm.sampling_params(**work.overrides)
    found = []
    for prompt in work.prompts:
        request = GenerationRequest(
            prompt,
            params,
            work.target.adapter,
            exchange.request_id,
            add_special_tokens=work.add_special_tokens,
            reading=work.reading,
            cut_to_room=not exchange.settings.strict_fields,
            options=work.options,
        )
        found.append(await llm.admit(request))
        await _let_others(work.prompts)
    return found


async def _let_others(several: Sequence[object]) -> None:
    """Between two of several: others are served meanwhile."""
    if len(several) > 1:
        await asyncio.sleep(0)


async def _stream(
    exchange: Exchange,
    wire: Wire,
    generations: Sequence[Generation],
    before_end: Callable[[], Awaitable[None]] | None,
) -> None:
    meter = _meter(exchange, generations)
    n = generations[0].choices
    stream = Stream(exchange, wire, meter, n * len(generations))
    try:
        for at, generation in enumerate(generations):
            await generation.begin(stream.sink(at * n))
            await _let_others(generations)
        await stream.run()
        closing = wire.closing(_total(generations))
        if before_end is not None:
            await before_end()
        await exchange.end_stream(closing)
    finally:
        _end(exchange, generations, meter)


async def _drain(
    exchange: Exchange, generations: Sequence[Generation], note: Note | None
) -> list[GenerationOutput]:
    meter = _meter(exchange, generations)
    n = generations[0].choices
    try:
        if len(generations) == 1:
            return [await collect(generations[0], _both(meter.count, note))]
        notes = [partial(meter.count, base=at * n) for at in range(len(generations))]
        pairs = zip(generations, notes, strict=True)
        tasks = []
        try:
            for generation, note in pairs:
                tasks.append(asyncio.create_task(collect(generation, note)))
                await _let_others(generations)
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        _end(exchange, generations, meter)


def _both(first: Note, second: Note | None) -> Note:
    if second is None:
        return first

    def note(delta: AnswerDelta) -> None:
        first(delta)
        second(delta)

    return note


def _meter(exchange: Exchange, generations: Sequence[Generation]) -> Meter:
    """Begin to count; the prompts wait from here. Errors: Overloaded, RateLimited."""
    tokens = sum(len(generation.prompt_token_ids) for generation in generations)
    caller = exchange.caller
    ticket = exchange.shared.queue.enter(tokens, caller.name)
    if caller.account is not None:
        try:
            caller.account.admit(tokens)
        except RateLimited:
            ticket.leave()
            raise
    if (turns := exchange.shared.turns) is not None:
        for generation in generations:
            generation.go_through(partial(turns.through, exchange.model, caller.name))
    if (adapter := generations[0].request.adapter) is not None:
        exchange.metrics.phases.used(exchange.model, adapter)
    meter = Meter(exchange.metrics, exchange.model, exchange.started, ticket, caller)
    exchange.meter = meter
    return meter


def _end(exchange: Exchange, generations: Sequence[Generation], meter: Meter) -> None:
    """Whatever became of the request: free what is held for it, add up what it used."""
    for generation in generations:
        generation.cancel()
    begun = [generation.begun for generation in generations if generation.begun is not None]
    if begun:
        meter.phases.note_begun(min(begun))
    meter.close(generation.usage for generation in generations)
    if exchange.trace is not None:
        exchange.trace.ran(meter)


def _total(generations: Sequence[Generation]) -> Usage:
    return total_usage([generation.usage for generation in generations])


def total_usage(usages: Sequence[Usage]) -> Usage:
    """The usage of several prompts as one request's."""
    return Usage(
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.completion_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        sum(usage.reasoning_tokens for usage in usages),
    )
