"""Requests over several servers: shared out, and lost by none that goes away."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

import httpx
import pytest

from openllm.client import pool
from openllm.client.pool import ServerPool
from openllm.errors import ConfigurationError, Unauthorized, Unreachable

BOTH = ("http://a:1", "http://b:1/v1", "http://a:1")


class StandIns:
    """What stands behind the names."""

    def __init__(self) -> None:
        self.asked = Counter[str]()
        self.down: set[str] = set()
        self.stuck: set[str] = set()
        self.slow: set[str] = set()
        self.looks = Counter[str]()
        self.answers: dict[str, list[httpx.Response]] = {}
        self.at_once = 0
        self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host in self.stuck:
            await asyncio.Event().wait()
        if request.url.path == "/livez":
            self.looks[host] += 1
            return httpx.Response(404)  # a server of another kind, which is there
        self.asked[host] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.001)
        if host in self.slow:
            while not self.looks[host]:  # noqa: ASYNC110  has no event
                await asyncio.sleep(0.001)
        self.at_once -= 1
        if host in self.down:
            raise httpx.ReadError("cut off", request=request)
        if waiting := self.answers.get(host):
            return waiting.pop(0)
        return httpx.Response(200, json={"by": host, "key": request.headers.get("authorization")})


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    monkeypatch.setattr(pool, "FIRST_REST", 0.02)
    return StandIns()


def over(servers: StandIns, key: str | None = None) -> ServerPool:
    return ServerPool(BOTH, key, httpx.MockTransport(servers))


async def test_each_gets_its_share(servers: StandIns) -> None:
    async with over(servers, "sesame") as found:
        replies = await asyncio.gather(*(found.post("/v1/completions", b"{}") for _ in range(20)))
    assert servers.asked == {"a": 10, "b": 10}
    assert servers.most == 20
    assert {reply.status for reply in replies} == {200}
    assert b"Bearer sesame" in replies[0].body


async def test_one_that_is_gone_is_nobodys_loss(servers: StandIns) -> None:
    servers.down = {"a"}
    async with over(servers) as found:
        replies = await asyncio.gather(*(found.post("/", b"{}") for _ in range(20)))
        assert all(b'"b"' in reply.body for reply in replies)
        servers.down = {"b"}
        assert b'"a"' in (await found.post("/", b"{}")).body


async def test_one_that_has_no_room_is_asked_later(servers: StandIns) -> None:
    busy = [httpx.Response(503, headers={"retry-after": "0"}), httpx.Response(429)]
    servers.answers = {"a": list(busy), "b": list(busy)}
    async with over(servers) as found:
        assert (await found.post("/", b"{}")).status == 200


async def test_an_error_of_the_request_is_its_answer(servers: StandIns) -> None:
    servers.answers = {name: [httpx.Response(code)] for name, code in (("a", 400), ("b", 500))}
    async with over(servers) as found:
        replies = [await found.post("/", b"{}"), await found.post("/", b"{}")]
    assert sorted(reply.status for reply in replies) in ([200, 400], [400, 500])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are looked at soon."""
    monkeypatch.setattr(pool, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(pool, "PROBE_SECONDS", 0.2)


@pytest.mark.usefixtures("hasty")
async def test_one_that_takes_requests_and_answers_none_is_left(servers: StandIns) -> None:
    servers.stuck = {"a"}
    async with over(servers) as found, asyncio.timeout(5):
        replies = await asyncio.gather(*(found.post("/", b"{}") for _ in range(20)))
    assert all(b'"b"' in reply.body for reply in replies)


@pytest.mark.usefixtures("hasty")
async def test_a_long_answer_of_one_that_is_there_is_waited_for(servers: StandIns) -> None:
    servers.slow = {"a", "b"}
    async with over(servers) as found, asyncio.timeout(5):
        replies = await asyncio.gather(*(found.post("/", b"{}") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert servers.asked == {"a": 10, "b": 10}
    assert all(1 <= servers.looks[host] < 10 for host in "ab")  # not for each that waits


@pytest.mark.usefixtures("hasty", "servers")
async def test_where_nobody_answers_on_open_connections_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.1)
    options: list[tuple[object, ...]] = []
    set_option = socket.socket.setsockopt

    def spy(self: socket.socket, *option: Any) -> None:
        options.append(option)
        set_option(self, *option)

    monkeypatch.setattr(socket.socket, "setsockopt", spy)
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # the system takes connections for it
        host, port = deaf.getsockname()
        async with ServerPool([f"http://{host}:{port}"]) as found, asyncio.timeout(5):
            with pytest.raises(Unreachable, match="it does not answer"):
                await found.post("/", b"{}")
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options


async def test_it_goes_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        async with ServerPool(["http://far.example:81"]) as found, asyncio.timeout(5):
            assert (await found.post("/v1/completions", b"{}")).status == 200
    assert asked == [b"POST http://far.example:81/v1/completions HTTP/1.1"]


async def test_what_no_waiting_helps_is_raised(
    servers: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.answers = {"a": [httpx.Response(401)]}
    async with over(servers) as found:
        with pytest.raises(Unauthorized, match="a:1 does not take the key"):
            await found.post("/", b"{}")
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.05)
    servers.down = {"a", "b"}
    async with over(servers) as found:
        with pytest.raises(Unreachable, match=r"http://a:1 \(cut off\), http://b:1 \(cut off\)"):
            await found.post("/", b"{}")
    with pytest.raises(ConfigurationError, match="no endpoint"):
        ServerPool(["nowhere"])
