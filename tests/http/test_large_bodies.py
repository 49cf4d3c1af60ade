"""Large bodies: refused while they come where they hold too much, read off the event loop else, and
several prompts of one request let others be served in between.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import attrs
import httpx
import pytest
from starlette.types import Message

from openllm.answer.generation import Generation
from openllm.errors import InvalidRequest
from openllm.http.app import create_app
from openllm.http.body.amount import LARGE_BODY
from openllm.http.exchange import Exchange
from openllm.types import GenerationRequest
from tests.serving import LONG_WAIT, Running

ROUTES = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/api/chat",
    "/api/embed",
    "/generate",
    "/embed",
    "/v1/generate",
    "/tokenize",
]
ANNOUNCED = 30 * 1000**2
# What stands at the beginning of a body of 30 MB, of which no more is sent.
MUCH = [
    b'{"metadata" : ' + b"[" * 60 + b"[[[]]]," * 100_000,
    b'{"metadata": {' + b",".join(b'"key %d": 1' % at for at in range(100_000)),
    b'{"prompt": [' + b"[" + b"1," * 1_100_000,
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_that_holds_too_much_is_refused_before_it_is_there(
    running: Running, route: str
) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    head = f"POST {route} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {ANNOUNCED}\r\n\r\n"
    for beginning in MUCH if route == ROUTES[0] else MUCH[:1]:
        with socket.create_connection((host, int(port)), timeout=LONG_WAIT) as connection:
            connection.sendall(head.encode() + beginning)
            answer = connection.makefile("rb")
            assert answer.readline().split()[1] in (b"400", b"422")


def test_a_compressed_body_is_counted_too(client: httpx.Client) -> None:
    import gzip

    body = gzip.compress(b'{"metadata": [' + b"[]," * 500_000 + b"1]}")
    answer = client.post(ROUTES[0], content=body, headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert "values" in answer.json()["error"]["message"]
    assert answer.json()["error"]["param"] == "metadata"


def exchange_with(running: Running, body: bytes) -> Exchange:
    """An exchange of its own, whose body comes in two parts."""
    parts = [(body[:100], True), (body[100:], False)]

    async def receive() -> Message:
        part, more = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message: Message) -> None:
        """Nobody reads it."""

    scope = {"type": "http", "method": "POST", "path": ROUTES[0], "headers": []}
    server = create_app([running.llm], attrs.evolve(running.server.settings))
    return Exchange(scope, receive, send, server._shared)


@pytest.mark.parametrize("size", [200, LARGE_BODY + 1])
async def test_only_large_bodies_leave_the_event_loop(running: Running, size: int) -> None:
    body = json.dumps({"text": "a" * size}).encode()
    exchange = exchange_with(running, body)
    assert (await exchange.fields()).text("text") == "a" * size
    away = await exchange.apart(threading.get_ident) != threading.get_ident()
    assert away is (len(body) > LARGE_BODY)


async def test_what_holds_too_much_says_so(running: Running) -> None:
    exchange = exchange_with(running, b"[" * 200_000)
    with pytest.raises(InvalidRequest, match="1048576 values"):
        await exchange.fields()


def test_prompts_of_one_request_let_others_in_between(
    running: Running, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0  # of the event loop
    seen: list[int] = []
    admit = running.llm.admit

    async def watched(request: GenerationRequest) -> Generation:
        seen.append(turns)
        return await admit(request)

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    monkeypatch.setattr(running.llm, "admit", watched)
    counting = asyncio.run_coroutine_threadsafe(count(), running.loop)
    body: Any = {"prompt": ["hello world " * 20] * 64, "max_tokens": 1}
    assert client.post("/v1/completions", json=body).status_code == 200
    counting.cancel()
    assert len(set(seen)) == len(seen) == 64
