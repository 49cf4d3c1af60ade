"""GET /: the chat page, and the scripts and styles it is made of, from memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.catalog import Catalog
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint, Handler
from openllm.protocols.native.dialect import Native

_KINDS = {".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8"}
_PAGE = b"text/html; charset=utf-8"
# Nothing from elsewhere, nothing inline: what a model writes cannot become code.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'"
    b" data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Browser(Native):
    """For browsers, which ask for a password themselves: the key is that, the name does not matter.
    Only the page takes it, since another site's page could make a browser send it.
    """

    challenge = b'Basic realm="openllm", charset="UTF-8"'

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"basic":
            return super().key(headers)
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""


BROWSER = Browser()


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    if not settings.ui:
        return []
    folder = files("openllm.ui")
    found = [("/", folder.joinpath("index.html"), _PAGE)]
    found += [
        (f"/ui/{file.name}", file, kind)
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if (kind := _KINDS.get(Path(file.name).suffix)) is not None
    ]
    return [
        Route(path, Endpoint(path, _file(file.read_bytes(), kind), BROWSER), methods=["GET"])
        for path, file, kind in found
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
