"""POST /openai/deployments/{deployment}/...: Azure's paths of OpenAI's routes, which have the
model's name in them.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import Route

from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint, endpoint_of

BELOW = "/v1/"
DEPLOYMENT = "/openai/deployments/{deployment:path}/"


def deployed(routes: Iterable[Route]) -> list[Route]:
    """The same for those of `routes` that take a body without parameters in their paths."""
    return [
        Route(path, _named(path, endpoint_of(route)), methods=["POST"])
        for route in routes
        if "POST" in (route.methods or ()) and not route.param_convertors
        for path in [DEPLOYMENT + route.path.removeprefix(BELOW)]
    ]


def _named(path: str, endpoint: Endpoint) -> Endpoint:
    async def handle(exchange: Exchange) -> None:
        exchange.said["model"] = exchange.path_params["deployment"]
        await endpoint(exchange)

    return Endpoint(path, handle, endpoint.dialect, described=False)
