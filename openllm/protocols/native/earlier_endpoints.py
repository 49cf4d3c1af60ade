"""POST /v1/metadata and /v1/helpers/messages, as clients of OpenLLM 0.4 and 0.5 ask them."""

from __future__ import annotations

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.conversation import read_conversation
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.native.dialect import NATIVE
from openllm.protocols.native.earlier import describe_earlier
from openllm.protocols.native.endpoints import CHAT, describe, metadata_of

TEXT = b"text/plain; charset=utf-8"


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def metadata(exchange: Exchange) -> None:
        """Of the model that is named; that client names none, and means the first."""
        fields = await exchange.fields()
        name = fields.text("model")
        fields.close()
        told = catalog.find(name) if name else catalog.first
        found = {
            **metadata_of(catalog, settings),
            **describe(told),
            **describe_earlier(told.llm, settings),
        }
        await exchange.answer_json(found)

    async def render(exchange: Exchange) -> None:
        """The prompt that messages become, as text."""
        fields = await exchange.fields()
        llm = catalog.running(fields.text("model"), "generate").llm
        prompted = fields.flag("add_generation_prompt", default=False)
        conversation = read_conversation(fields, settings)
        fields.close()
        conversation = attrs.evolve(conversation, add_generation_prompt=prompted)
        text = await exchange.apart(llm.renderer.render, conversation)
        await exchange.answer(200, text.encode(), TEXT)

    return [
        Route("/v1/metadata", Endpoint("/v1/metadata", metadata, NATIVE), methods=["POST"]),
        Route(
            "/v1/helpers/messages",
            Endpoint("/v1/helpers/messages", render, CHAT, content_type=TEXT),
            methods=["POST"],
        ),
    ]
