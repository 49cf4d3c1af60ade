"""Requests over several servers: shared out, and lost by none that goes away."""

from __future__ import annotations

import asyncio
from collections import Counter

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
        self.answers: dict[str, list[httpx.Response]] = {}
        self.at_once = 0
        self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked[host] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
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
