"""A wire format for openllm: the names of what is served, as a telegram."""

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Endpoint, Exchange

PATH = "/telegraph"


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def telegram(exchange: Exchange) -> None:
        words = [*(llm.name for llm in catalog.llms), ""]
        await exchange.answer_json({"telegram": " STOP ".join(words).strip()})

    return [Route(PATH, Endpoint(PATH, telegram), methods=["GET"])]
