"""GET /v1/models and /v1/models/{id} for Anthropic's clients: base models and adapters in its
shape.
"""

from __future__ import annotations

from typing import Any

from starlette.routing import Route

from openllm.errors import InvalidRequest
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.framing import timestamp
from openllm.http.listing import listing
from openllm.protocols.anthropic.dialect import ANTHROPIC

PATH = "/v1/models"
PAGE, LONGEST_PAGE = 20, 1000  # models, as the vendor has it


def routes(catalog: Catalog) -> list[Route]:
    return listing(PATH, catalog, ANTHROPIC, card, page, shared=True)


def card(target: Target) -> dict[str, Any]:
    """One entry of the list."""
    found: dict[str, Any] = {
        "type": "model",
        "id": target.name,
        "display_name": target.name,
        "created_at": timestamp(target.llm.created),
        "lifecycle": "active",
    }
    if target.llm.started:
        found |= dict.fromkeys(("max_input_tokens", "max_tokens"), target.llm.max_model_len)
    return found


def page(cards: list[dict[str, Any]], exchange: Exchange) -> dict[str, Any]:
    """The part of the list that `limit`, `after_id` and `before_id` of the URL ask for. Errors:
    InvalidRequest.
    """
    asked = exchange.query
    ids = [entry["id"] for entry in cards]
    if (after := asked.get("after_id")) is not None:
        cards = cards[_place(ids, "after_id", after) + 1 :]
    elif (before := asked.get("before_id")) is not None:
        cards = cards[: _place(ids, "before_id", before)]
    size = _size(asked.get("limit", str(PAGE)))
    shown = cards[-size:] if "before_id" in asked else cards[:size]
    return {
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "has_more": len(shown) < len(cards),
        "last_id": shown[-1]["id"] if shown else None,
    }


def _place(ids: list[str], name: str, wanted: str) -> int:
    if wanted not in ids:
        raise InvalidRequest(f"{name}: there is no model {wanted[:128]!r}.", param=name)
    return ids.index(wanted)


def _size(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= size <= LONGEST_PAGE:
        raise InvalidRequest(f"limit: must be between 1 and {LONGEST_PAGE}.", param="limit")
    return size
