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
from openllm.llm.formats import reasoning_of
from openllm.llm.llm import LLM
from openllm.protocols.anthropic.dialect import ANTHROPIC
from openllm.protocols.anthropic.params import EFFORT

PATH = "/v1/models"
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
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
        found["capabilities"] = capabilities(target.llm)
    return found


def capabilities(llm: LLM) -> dict[str, Any]:
    """What a started model can do, in the vendor's words, all of which have to be there; types of
    thinking and context management are taken, with or without an effect, and effort is by template.
    """
    writes = llm.spec.task == "generate"
    thinks = writes and reasoning_of(llm, tools=False) is not None
    effort = writes and EFFORT in llm.renderer.source(tools=False)
    return {
        **dict.fromkeys(("batch", "citations", "code_execution", "pdf_input"), _can(False)),
        "context_management": _can(False),
        "effort": {**_can(effort), **dict.fromkeys(_EFFORTS, _can(effort))},
        "image_input": _can("image" in llm.input_modalities),
        "server_tools": {
            **_can(False),
            **dict.fromkeys(("code_execution", "web_search"), _can(False)),
        },
        "structured_outputs": _can(writes and llm.backend.follows_structures),
        "thinking": {
            **_can(thinks),
            "types": {
                **dict.fromkeys(("adaptive", "enabled"), _can(thinks)),
                **dict.fromkeys(("between_tools", "disabled"), _can(writes)),
            },
        },
    }


def _can(does: bool) -> dict[str, Any]:
    return {"supported": does}


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
