"""/v1/conversations: lists of items that responses read and add to, kept under a name."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.routing import Route

from openllm.errors import NotFound
from openllm.http.body.fields import Fields
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.items import read_items
from openllm.protocols.openai.responses.listing import listed, page
from openllm.protocols.openai.responses.request import read_metadata
from openllm.protocols.openai.responses.store import Item, Store, Thread, new_id

PATH = "/v1/conversations"
ONE = PATH + "/{conversation}"
ITEMS = ONE + "/items"
ITEM = ITEMS + "/{item}"


def routes(store: Store) -> list[Route]:
    found = _Conversations(store)
    handlers = (
        (PATH, found.create, ["POST"]),
        (ONE, found.one, ["GET", "POST", "DELETE"]),
        (ITEMS, found.items, ["GET", "POST"]),
        (ITEM, found.item, ["GET", "DELETE"]),
    )
    return [
        Route(path, Endpoint(path, handler, RESPONSES), methods=methods)
        for path, handler, methods in handlers
    ]


class _Conversations:
    """The handlers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _named(self, exchange: Exchange) -> Thread:
        return self._store.thread(exchange.owner, exchange.path_params["conversation"])

    async def create(self, exchange: Exchange) -> None:
        self._store.require()
        fields = await exchange.fields()
        items = await exchange.apart(_items, fields, self._store, exchange.owner)
        metadata = read_metadata(fields) or {}
        fields.close()
        thread = Thread(new_id("conv"), exchange.owner, exchange.created, metadata)
        self._store.add(thread, items)
        await exchange.answer_json(_shown(thread))

    async def one(self, exchange: Exchange) -> None:
        thread = self._named(exchange)
        if exchange.method == "DELETE":
            self._store.forget(thread)
            gone = {"id": thread.id, "object": "conversation.deleted", "deleted": True}
            await exchange.answer_json(gone)
            return
        if exchange.method == "POST":
            fields = await exchange.fields()
            metadata = read_metadata(fields) or {}
            fields.close()
            thread = attrs.evolve(self._named(exchange), metadata=metadata)
            self._store.put(thread)
        await exchange.answer_json(_shown(thread))

    async def items(self, exchange: Exchange) -> None:
        thread = self._named(exchange)
        if exchange.method in ("GET", "HEAD"):
            await exchange.answer_json(page(thread.items(), exchange))
            return
        fields = await exchange.fields()
        new = await exchange.apart(_items, fields, self._store, exchange.owner)
        if not new:
            fields.bad("items", "must not be empty")
        fields.close()
        self._store.add(self._named(exchange), new)
        await exchange.answer_json({**listed(new), "has_more": False})

    async def item(self, exchange: Exchange) -> None:
        thread = self._named(exchange)
        name = exchange.path_params["item"]
        found = thread.kept.get(name)
        if found is None:
            raise NotFound(f"There is no item {name[:128]!r} in {thread.id}.")
        if exchange.method == "DELETE":
            left = {key: value for key, value in thread.kept.items() if key != name}
            self._store.put(attrs.evolve(thread, kept=left))
            await exchange.answer_json(_shown(thread))
            return
        await exchange.answer(200, found.data)


def _items(fields: Fields, store: Store, owner: str) -> list[Item]:
    """The `items` of a body. Errors: those of `read_items`."""
    read = read_items(fields, "items", lambda name, path: store.item(owner, name, path))
    return [one.item for one in read]


def _shown(thread: Thread) -> dict[str, Any]:
    return {
        "id": thread.id,
        "object": "conversation",
        "created_at": thread.created,
        "metadata": thread.metadata,
    }
