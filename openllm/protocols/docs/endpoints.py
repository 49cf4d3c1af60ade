"""GET /openapi.json, also as /docs.json, and /docs, the same as a page."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import msgspec
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.openapi.document import document
from openllm.http.routes import Endpoint
from openllm.protocols.docs.page import STYLE, page
from openllm.protocols.native.dialect import NATIVE
from openllm.protocols.page import BROWSER

# /docs.json is where BentoML's services have it
PATHS = ("/openapi.json", "/docs.json")
PAGE = "/docs"
_HTML = b"text/html; charset=utf-8"
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest())
# No script at all, nothing from elsewhere, and one style, by its digest.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; base-uri 'none';"
        b" form-action 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
)


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    description = _Description(settings)

    async def openapi(exchange: Exchange) -> None:
        await exchange.answer(200, (await description.of(exchange))[0])

    async def docs(exchange: Exchange) -> None:
        await exchange.answer(200, (await description.of(exchange))[1], _HTML, _HEADERS)

    found = [Route(path, Endpoint(path, openapi, NATIVE), methods=["GET"]) for path in PATHS]
    return [*found, Route(PAGE, Endpoint(PAGE, docs, BROWSER), methods=["GET"])]


class _Description:
    """The description of one server, made when it is first asked for, which takes seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: asyncio.Task[tuple[bytes, bytes]] | None = None

    async def of(self, exchange: Exchange) -> tuple[bytes, bytes]:
        """As JSON and as HTML. Who asks while it is being made waits for the same."""
        if self._made is None:
            made = asyncio.to_thread(_make, exchange.shared.routes, self._settings)
            self._made = asyncio.create_task(made)
        return await asyncio.shield(self._made)


def _make(routes: tuple[Route, ...], settings: Settings) -> tuple[bytes, bytes]:
    found = document(routes, settings)
    return msgspec.json.encode(found), page(found).encode()
