"""POST /v1/responses and /v1/responses/input_tokens: OpenAI's requests for a response, answered
whole, as events, or later.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import NotFound
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, admit, respond
from openllm.llm.formats import reasoning_of
from openllm.protocols.openai.messages import effort_unasked
from openllm.protocols.openai.responses.background import Background, BegunResponse
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.fitting import fitting, prompt_tokens
from openllm.protocols.openai.responses.request import (
    ResponseRequest,
    read_apart,
    read_asked,
    read_response,
)
from openllm.protocols.openai.responses.store import Answered, Item, Store, new_id
from openllm.protocols.openai.responses.wire import ResponseWire

PATH = "/v1/responses"
COUNT = PATH + "/input_tokens"


def routes(
    catalog: Catalog, settings: Settings, store: Store, background: Background
) -> list[Route]:
    async def create(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await read_apart(exchange, read_response, fields, settings, store)
        asked = request.asked
        target = catalog.running(asked.model, "generate")
        if effort_unasked(asked.conversation, target):
            fields.note("reasoning.effort")
        tools = bool(asked.conversation.tools)
        if request.budget is not None and reasoning_of(target.llm, tools=tools) is None:
            fields.note(request.budget)
        exchange.rename(request.handling.request_id)
        record = Answered(new_id("resp"), exchange.owner, b"", asked.items, [], asked.previous)
        params = target.llm.sampling_params(**request.overrides)
        wire = ResponseWire(record.id, request, target, params)
        keep = partial(_keep, store, request, record, wire)
        work = await _work(target, request)
        work = attrs.evolve(work, note=wire.note, before_end=partial(store.apart, keep))
        if request.background:
            generations = await admit(exchange, work)
            await background.begin(exchange, generations, wire, BegunResponse(record, keep))
            return
        if request.stream:
            exchange.dialect = RESPONSES.ending(wire.failed)
        await respond(exchange, work, wire)

    async def count(exchange: Exchange) -> None:
        fields = await exchange.fields()
        asked = await read_apart(exchange, read_asked, fields, settings, store)
        fields.ignore("personality")
        fields.close()
        target = catalog.running(asked.model, "generate")
        conversation = asked.conversation
        if asked.cut:
            conversation = await fitting(target, conversation, None)
        tokens = await prompt_tokens(target, conversation)
        await exchange.answer_json({"object": "response.input_tokens", "input_tokens": tokens})

    return [
        Route(PATH, Endpoint(PATH, create, RESPONSES), methods=["POST"]),
        Route(COUNT, Endpoint(COUNT, count, RESPONSES), methods=["POST"]),
    ]


async def _work(target: Target, request: ResponseRequest) -> Work:
    """What the model is to do. Errors: those of `LLM.prompt_ids`."""
    conversation = request.asked.conversation
    if request.asked.cut:
        wanted = request.overrides.get("max_tokens")
        conversation = await fitting(target, conversation, wanted)
    return Work(
        target,
        [conversation],
        request.overrides,
        request.stream,
        add_special_tokens=False,
        reading=None,
        options=request.handling.options,
    )


def _keep(
    store: Store,
    request: ResponseRequest,
    record: Answered,
    wire: ResponseWire,
) -> None:
    """Keep what has been answered, where it is to be kept, and add it to its conversation. Errors:
    InvalidRequest where that becomes too large.
    """
    answered = [Item.of(item) for item in wire.items]
    if request.store:
        store.put(attrs.evolve(record, response=wire.whole, answered=answered))
    if request.asked.thread is not None:
        with suppress(NotFound):  # it has been deleted meanwhile
            thread = store.thread(record.owner, request.asked.thread.id)
            store.add(thread, [*record.asked, *answered])
