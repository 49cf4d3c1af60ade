"""GET /: the chat page and its two files, from memory."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Endpoint, Exchange, Handler

_FILES = (
    ("/", "index.html", b"text/html; charset=utf-8"),
    ("/ui/app.js", "app.js", b"text/javascript; charset=utf-8"),
    ("/ui/style.css", "style.css", b"text/css; charset=utf-8"),
)
# Nothing from elsewhere, nothing inline: what a model writes cannot become code.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"
    b" data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    if not settings.ui:
        return []
    return [
        Route(
            path,
            Endpoint(path, _file(files("openllm.ui").joinpath(name).read_bytes(), kind)),
            methods=["GET"],
        )
        for path, name, kind in _FILES
    ]


def _file(content: bytes, kind: bytes) -> Handler:
    tag = b'"%s"' % hashlib.sha256(content).hexdigest()[:16].encode()
    headers = (
        (b"cache-control", b"no-cache"),
        (b"etag", tag),
        (b"content-security-policy", _POLICY),
        (b"referrer-policy", b"no-referrer"),
    )

    async def send_file(exchange: Exchange) -> None:
        if exchange.headers.get(b"if-none-match") == tag:
            await exchange.answer(304, b"", kind, headers)
        else:
            await exchange.answer(200, content, kind, headers)

    return send_file
