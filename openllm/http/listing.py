"""The two routes by which a protocol lists models, in its own shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.routing import Route

from openllm.http.catalog import Catalog, Target
from openllm.http.dialect import Dialect
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint

Card = dict[str, Any]


def listing(
    path: str,
    catalog: Catalog,
    dialect: Dialect,
    card: Callable[[Target], Card],
    page: Callable[[list[Card], Exchange], Card],
    *,
    shared: bool = False,
) -> list[Route]:
    """GET `path`, a `page` of the `card` of every model that the caller may use, and GET
    `path`/NAME, that of one; `shared` as of `Endpoint`.
    """

    async def list_models(exchange: Exchange) -> None:
        await exchange.answer_json(page([card(target) for target in catalog.targets()], exchange))

    async def get_model(exchange: Exchange) -> None:
        await exchange.answer_json(card(catalog.find(exchange.path_params["model"])))

    every = Endpoint(path, list_models, dialect, shared=shared)
    one = Endpoint(path + "/{model}", get_model, dialect, shared=shared)
    return [
        Route(path, every, methods=["GET"]),
        Route(path + "/{model:path}", one, methods=["GET"]),
    ]
