"""/v1/conversations: lists of items that responses read and add to, kept under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import NotFound
from openllm.http.body.fields import Fields
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.protocols.openai.responses.dialect import RESPONSES
from openllm.protocols.openai.responses.items import read_items
from openllm.protocols.openai.responses.listing import listed, page
from openllm.protocols.openai.responses.request import read_apart, read_metadata
from openllm.protocols.openai.responses.store import Item, Store, Thread, new_id

PATH = "/v1/conversations"
ONE = PATH + "/{conversation}"
ITEMS = ONE + "/items"
ITEM = ITEMS + "/{item}"


def routes(settings: Settings, store: Store) -> list[Route]:
    found = _Conversations(settings, store)
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

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    async def _changed(
        self, exchange: Exchange, change: Callable[[Thread], object] = lambda thread: None
    ) -> Thread:
        """The conversation that is named, as it is after `change`."""
        owner, name = exchange.owner, exchange.path_params["conversation"]

        def work() -> Thread:
            with self._store.together():
                change(self._store.thread(owner, name))
                return self._store.thread(owner, name)

        return await self._store.apart(work)

    async def create(self, exchange: Exchange) -> None:
        self._store.require()
        fields = await exchange.fields()
        items = await self._items(exchange, fields)
        metadata = read_metadata(fields) or {}
        fields.close()
        thread = Thread(new_id("conv"), exchange.owner, exchange.created, metadata)
        await self._store.apart(self._store.add, thread, items)
        await exchange.answer_json(_shown(thread))

    async def one(self, exchange: Exchange) -> None:
        thread = await self._changed(exchange)
        if exchange.method == "DELETE":
            await self._store.apart(self._store.forget, thread)
            gone = {"id": thread.id, "object": "conversation.deleted", "deleted": True}
            await exchange.answer_json(gone)
            return
        if exchange.method == "POST":
            fields = await exchange.fields()
            metadata = read_metadata(fields) or {}
            fields.close()
            thread = await self._changed(
                exchange,
                lambda latest: self._store.put(attrs.evolve(latest, metadata=metadata)),
            )
        await exchange.answer_json(_shown(thread))

    async def items(self, exchange: Exchange) -> None:
        thread = await self._changed(exchange)
        if exchange.method in ("GET", "HEAD"):
            await exchange.answer_json(page(thread.items(), exchange))
            return
        fields = await exchange.fields()
        new = await self._items(exchange, fields)
        if not new:
            fields.bad("items", "must not be empty")
        fields.close()
        await self._changed(exchange, lambda latest: self._store.add(latest, new))
        await exchange.answer_json({**listed(new), "has_more": False})

    async def item(self, exchange: Exchange) -> None:
        name = exchange.path_params["item"]

        def remove(latest: Thread) -> None:
            _of(latest, name)
            left = {key: value for key, value in latest.kept.items() if key != name}
            self._store.put(attrs.evolve(latest, kept=left))

        if exchange.method == "DELETE":
            await exchange.answer_json(_shown(await self._changed(exchange, remove)))
            return
        thread = await self._changed(exchange)
        await exchange.answer(200, _of(thread, name).data)

    async def _items(self, exchange: Exchange, fields: Fields) -> list[Item]:
        """The `items` of a body. Errors: those of `read_items`."""
        return await read_apart(exchange, _read_items, fields, self._settings, self._store)


def _read_items(fields: Fields, settings: Settings, store: Store, owner: str) -> list[Item]:
    read = read_items(fields, "items", lambda name, path: store.item(owner, name, path))
    return [one.item for one in read]


def _of(thread: Thread, name: str) -> Item:
    """The item called `name`. Errors: NotFound."""
    found = thread.kept.get(name)
    if found is None:
        raise NotFound(f"There is no item {name[:128]!r} in {thread.id}.")
    return found


def _shown(thread: Thread) -> dict[str, Any]:
    return {
        "id": thread.id,
        "object": "conversation",
        "created_at": thread.created,
        "metadata": thread.metadata,
    }
