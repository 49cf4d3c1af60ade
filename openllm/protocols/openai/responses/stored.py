"""GET and DELETE /v1/responses/{id}, its /cancel and /input_items: responses that are kept."""

from __future__ import annotations

from starlette.routing import Route

from openllm.errors import InvalidRequest
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.responses.background import Background
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.listing import page, refuse_stream
from openllm.protocols.openai.responses.store import Answered, Store

PATH = "/v1/responses/{response}"
CANCEL, ITEMS = PATH + "/cancel", PATH + "/input_items"


def routes(store: Store, background: Background) -> list[Route]:
    def named(exchange: Exchange) -> Answered:
        return store.answered(exchange.owner, exchange.path_params["response"])

    async def one(exchange: Exchange) -> None:
        record = named(exchange)
        if exchange.method == "DELETE":
            background.cancel(record)
            store.forget(record)
            gone = {"id": record.id, "object": "response", "deleted": True}
            await exchange.answer_json(gone)
            return
        refuse_stream(exchange)
        await exchange.answer(200, record.response)

    async def cancel(exchange: Exchange) -> None:
        record = named(exchange)
        state = background.cancel(record)
        if not state["background"]:
            raise InvalidRequest(
                "Only a response in the background can be cancelled.",
                hint="Close the connection to end one that is being answered.",
                param="background",
            )
        await exchange.answer_json(state)

    async def input_items(exchange: Exchange) -> None:
        record = named(exchange)
        earlier = []
        if record.previous is not None:
            earlier = store.history(exchange.owner, record.previous, "previous_response_id")
        await exchange.answer_json(page([*earlier, *record.asked], exchange))

    return [
        Route(PATH, Endpoint(PATH, one, RESPONSES), methods=["GET", "DELETE"]),
        Route(CANCEL, Endpoint(CANCEL, cancel, RESPONSES), methods=["POST"]),
        Route(ITEMS, Endpoint(ITEMS, input_items, RESPONSES), methods=["GET"]),
    ]
