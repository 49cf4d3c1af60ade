"""GET and DELETE /v1/responses/{id}, its /cancel and /input_items: responses that are kept."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.routing import Route

from openllm.errors import InvalidRequest
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.responses.background import Background
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.listing import page, refuse_stream
from openllm.protocols.openai.responses.store import Answered, Item, Store, T

PATH = "/v1/responses/{response}"
CANCEL, ITEMS = PATH + "/cancel", PATH + "/input_items"


def routes(store: Store, background: Background) -> list[Route]:
    found = _Responses(store, background)
    return [
        Route(PATH, Endpoint(PATH, found.one, RESPONSES), methods=["GET", "DELETE"]),
        Route(CANCEL, Endpoint(CANCEL, found.cancel, RESPONSES), methods=["POST"]),
        Route(ITEMS, Endpoint(ITEMS, found.items, RESPONSES), methods=["GET"]),
    ]


class _Responses:
    """The handlers; what they do with the store is one step for all others."""

    def __init__(self, store: Store, background: Background) -> None:
        self._store = store
        self._background = background

    async def _apart(self, exchange: Exchange, work: Callable[[Answered], T]) -> T:
        """What `work` gives of the response that is named. Errors: NotFound."""
        owner, name = exchange.owner, exchange.path_params["response"]

        def found() -> T:
            with self._store.together():
                return work(self._store.answered(owner, name))

        return await self._store.apart(found)

    async def one(self, exchange: Exchange) -> None:
        if exchange.method != "DELETE":
            record = await self._apart(exchange, self._background.settled)
            refuse_stream(exchange)
            await exchange.answer(200, record.response)
            return
        await self._apart(exchange, self._store.forget)
        name = exchange.path_params["response"]
        self._background.stop(name)
        await exchange.answer_json({"id": name, "object": "response", "deleted": True})

    async def cancel(self, exchange: Exchange) -> None:
        record = await self._apart(exchange, self._background.cancelled)
        self._background.stop(record.id)
        state = msgspec.json.decode(record.response)
        if not state["background"]:
            raise InvalidRequest(
                "Only a response in the background can be cancelled.",
                hint="Close the connection to end one that is being answered.",
                param="background",
            )
        await exchange.answer_json(state)

    async def items(self, exchange: Exchange) -> None:
        found = await self._apart(exchange, self._asked)
        await exchange.answer_json(page(found, exchange))

    def _asked(self, record: Answered) -> list[Item]:
        """What was asked, after all that was before it."""
        earlier: list[Item] = []
        if record.previous is not None:
            earlier = self._store.history(record.owner, record.previous, "previous_response_id")
        return [*earlier, *record.asked]
