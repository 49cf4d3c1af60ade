"""Lists of items, a page at a time: `order`, `after` and `limit` in the query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from openllm.errors import InvalidRequest, NotFound, UnsupportedFeature
from openllm.http.exchange import Exchange
from openllm.protocols.openai.responses.store import Item

MOST = 100
USUAL = 20


def page(
    items: Iterable[Item], exchange: Exchange, usual: int = USUAL, most: int = MOST
) -> dict[str, Any]:
    """The page that the query asks for, of `usual` items where it does not say how many, and of
    `most` at most. `items`: the oldest first. Errors: InvalidRequest, NotFound.
    """
    asked = exchange.query
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("order must be asc or desc.", param="order")
    limit = asked.get("limit", str(usual))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= most:
        raise InvalidRequest(f"limit must be between 1 and {most}.", param="limit")
    found = list(items) if order == "asc" else list(items)[::-1]
    if (after := asked.get("after")) is not None:
        at = next((at for at, item in enumerate(found) if item.id == after), None)
        if at is None:
            raise NotFound(f"There is no item {after[:128]!r} in the list.", param="after")
        found = found[at + 1 :]
    shown = found[: int(limit)]
    return {"has_more": len(found) > len(shown), **listed(shown)}


def listed(items: list[Item]) -> dict[str, Any]:
    """`items` as a list."""
    return {
        "object": "list",
        "data": [msgspec.Raw(item.data) for item in items],
        "first_id": items[0].id if items else "",
        "last_id": items[-1].id if items else "",
    }


def refuse_stream(exchange: Exchange) -> None:
    """Errors: UnsupportedFeature where the query asks for events."""
    if exchange.query.get("stream") in ("true", "1"):
        raise UnsupportedFeature(
            "What is kept cannot be streamed.",
            hint="Ask without stream until the response is complete.",
            param="stream",
        )
