"""POST /v1/messages, and /v1/messages/count_tokens, which says how long its prompt would be."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.conversation import read_template_kwargs
from openllm.http.body.fields import Fields
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.protocols.anthropic.dialect import ANTHROPIC
from openllm.protocols.anthropic.encode import MessageWire
from openllm.protocols.anthropic.messages import read_conversation
from openllm.protocols.anthropic.params import (
    EFFORT,
    ignore_others,
    note_thinking,
    read_output,
    read_sampling,
    read_thinking,
)
from openllm.types import Conversation, GenerationRequest

PATH = "/v1/messages"
COUNT_PATH = PATH + "/count_tokens"


@attrs.frozen
class MessagesRequest:
    """A parsed body."""

    model: str | None
    conversation: Conversation
    overrides: dict[str, Any]
    stream: bool
    thoughts: bool  # whether the answer shows them


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def create(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await exchange.apart(read_messages, fields, settings)
        target = catalog.running(request.model, "generate")
        note_thinking(fields, request.conversation, target)
        work = Work(
            target,
            [request.conversation],
            request.overrides,
            request.stream,
            add_special_tokens=False,
            reading=None,
        )
        await respond(exchange, work, MessageWire(exchange, target, thoughts=request.thoughts))

    async def count(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await exchange.apart(read_messages, fields, settings, counted=True)
        target = catalog.running(request.model, "generate")
        exchange.model = target.llm.name
        prompt = GenerationRequest(request.conversation, add_special_tokens=False, reading=None)
        ids = await target.llm.prompt_ids(prompt)
        await exchange.answer_json({"input_tokens": len(ids)})

    return [
        Route(path, Endpoint(path, handler, ANTHROPIC), methods=["POST"])
        for path, handler in ((PATH, create), (COUNT_PATH, count))
    ]


def read_messages(fields: Fields, settings: Settings, *, counted: bool = False) -> MessagesRequest:
    """The body of a request; `counted`: its prompt is to be counted, not answered. Errors:
    InvalidRequest, UnsupportedFeature; each names its field.
    """
    model = fields.text("model")
    thinking = read_thinking(fields)
    effort, structure = read_output(fields)
    said = {} if effort is None else {EFFORT: effort}
    kwargs = {**thinking.template_kwargs, **said, **read_template_kwargs(fields, settings)}
    conversation = read_conversation(fields, kwargs)
    overrides = {} if counted else read_sampling(fields, settings)
    if structure is not None:
        overrides["structure"] = structure
    if thinking.budget is not None:
        overrides["thinking_budget"] = thinking.budget
    stream = fields.flag("stream")
    ignore_others(fields)
    fields.close()
    return MessagesRequest(model, conversation, overrides, stream, not thinking.omitted)
