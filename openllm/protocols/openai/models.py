"""GET /v1/models and /v1/models/{id}: base models and adapters in OpenAI's shape."""

from __future__ import annotations

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Endpoint, Exchange


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def list_models(exchange: Exchange) -> None:
        await exchange.answer_json(
            {"object": "list", "data": [catalog.card(item) for item in catalog.targets()]}
        )

    async def get_model(exchange: Exchange) -> None:
        name: str = exchange.scope["path_params"]["model"]
        await exchange.answer_json(catalog.card(catalog.find(name)))

    return [
        Route("/v1/models", Endpoint("/v1/models", list_models), methods=["GET"]),
        Route(
            "/v1/models/{model:path}", Endpoint("/v1/models/{model}", get_model), methods=["GET"]
        ),
    ]
