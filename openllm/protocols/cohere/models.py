"""GET /v1/models and /v1/models/{name} for Cohere's clients: base models and adapters in its
shape.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.listing import listing
from openllm.protocols.cohere.dialect import COHERE

PATH = "/v1/models"
# What models of a task are asked for.
ENDPOINTS = {
    "generate": ("chat", "embed"),
    "embed": ("embed", "rerank"),
    "classify": ("rerank",),
}
PAGE, LONGEST_PAGE = 20, 1000  # models, as the vendor has it


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    return listing(PATH, catalog, COHERE, card, page, shared=True)


def card(target: Target) -> dict[str, Any]:
    """One entry of the list. Its tokenizer has no address: clients ask for token ids here."""
    llm = target.llm
    writes = llm.spec.task == "generate"
    found: dict[str, Any] = {
        "name": target.name,
        "is_deprecated": False,
        "endpoints": list(ENDPOINTS[llm.spec.task]),
        "finetuned": target.adapter is not None,
        "tokenizer_url": None,
        "default_endpoints": [],
        "features": ["json_mode", "json_schema", "tools", "strict_tools"] if writes else [],
    }
    if llm.started:
        found["context_length"] = llm.max_model_len
        found["features"] += ["vision"] if "image" in llm.input_modalities else []
    return found


def page(cards: list[dict[str, Any]], exchange: Exchange) -> dict[str, Any]:
    """The part of the list that `endpoint`, `page_size` and `page_token` of the URL ask for; a
    token is the name of the last model before it. Errors: InvalidRequest.
    """
    asked = exchange.query
    if (endpoint := asked.get("endpoint")) is not None:
        cards = [entry for entry in cards if endpoint in entry["endpoints"]]
    if (last := asked.get("page_token")) is not None:
        names = [entry["name"] for entry in cards]
        if last not in names:
            raise InvalidRequest("page_token: no answer had it.", param="page_token")
        cards = cards[names.index(last) + 1 :]
    size = _size(asked.get("page_size", str(PAGE)))
    more = {"next_page_token": cards[size - 1]["name"]} if len(cards) > size else {}
    return {"models": cards[:size], **more}


def _size(text: str) -> int:
    size = float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else 0
    if not 1 <= size <= LONGEST_PAGE:
        raise InvalidRequest(f"page_size: must be between 1 and {LONGEST_PAGE}.", param="page_size")
    return int(size)
