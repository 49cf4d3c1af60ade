"""Requests to an application from inside its own process: the same routes, and no socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import attrs
from starlette.types import ASGIApp, Message, Scope

_SENDER = "openllm.sender"  # in a scope


@attrs.frozen
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


@attrs.frozen
class Sender:
    """Whose request it is, where its key is not at hand: no client can say this of itself."""

    name: str  # of the caller
    owner: str  # of what is kept for it


def sender_of(scope: Scope) -> Sender | None:
    """Who sends a request from inside; None: its headers say it."""
    sender: Sender | None = scope.get(_SENDER)
    return sender


async def post(app: ASGIApp, path: str, body: bytes, sender: Sender | None = None) -> Answer:
    """What `app` answers to a JSON body at `path`. Being cancelled is a client that leaves."""
    scope: Scope = {
        _SENDER: sender,
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "state": {},
    }
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    begun: list[Message] = []
    parts: list[bytes] = []

    async def receive() -> Message:
        if asked:
            return asked.pop()
        return await asyncio.Future()  # this client waits until it has its answer

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.append(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    (start,) = begun
    return Answer(start["status"], dict(start["headers"]), b"".join(parts))
