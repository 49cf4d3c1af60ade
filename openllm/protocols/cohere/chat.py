"""POST /v2/chat: a conversation answered whole, or as events."""

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
from openllm.protocols.cohere.dialect import COHERE
from openllm.protocols.cohere.encode import CohereWire
from openllm.protocols.cohere.messages import read_conversation
from openllm.protocols.cohere.params import (
    note_thinking,
    read_options,
    read_response_format,
    read_sampling,
    read_thinking,
)
from openllm.types import Conversation, RequestOptions

PATH = "/v2/chat"


@attrs.frozen
class CohereChat:
    """A parsed body."""

    model: str | None
    conversation: Conversation
    overrides: dict[str, Any]
    stream: bool
    logprobs: bool
    thoughts: bool  # they were asked for
    options: RequestOptions

    @property
    def plans(self) -> bool:
        """Whether what the model thinks is its plan for the tools: the vendor's models think of
        nothing else unless they are told to.
        """
        return bool(self.conversation.tools) and not self.thoughts


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def chat(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await exchange.apart(read_chat, fields, settings)
        target = catalog.running(request.model, "generate")
        if request.thoughts:
            note_thinking(fields, request.conversation, target)
        work = Work(
            target,
            [request.conversation],
            request.overrides,
            request.stream,
            add_special_tokens=False,
            reading=None,
            options=request.options,
        )
        wire = CohereWire(exchange, target, plans=request.plans, logprobs=request.logprobs)
        await respond(exchange, work, wire)

    return [Route(PATH, Endpoint(PATH, chat, COHERE), methods=["POST"])]


def read_chat(fields: Fields, settings: Settings) -> CohereChat:
    """The body of a chat request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model = fields.text("model")
    thinking = read_thinking(fields)
    kwargs = {**thinking.template_kwargs, **read_template_kwargs(fields, settings)}
    conversation = read_conversation(fields, kwargs)
    overrides = read_sampling(fields, settings)
    structure = read_response_format(fields)
    if structure is not None:
        overrides["structure"] = structure
    if thinking.budget is not None:
        overrides["thinking_budget"] = thinking.budget
    logprobs = fields.flag("logprobs")
    if logprobs:
        overrides["logprobs"] = 0
    stream, options = fields.flag("stream"), read_options(fields)
    fields.close()
    return CohereChat(model, conversation, overrides, stream, logprobs, thinking.wanted, options)
