"""Connections have limits: on the time and the size of a head, on the time of a body; no client
that dawdles holds a slot, or the drain.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import pytest
from uvicorn.protocols.http.h11_impl import H11Protocol

from openllm.client import Client
from openllm.config.settings import Settings
from openllm.http import connections
from openllm.http.app import Server
from openllm.http.connections import Connections, limited_protocol
from tests.protocols.conftest import echo_llm
from tests.serving import LONG_WAIT, Running, serve

DAY = 24 * 3600.0
SOON = 0.2  # seconds; as limits that a test waits for
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
BODY = b'{"prompt": "hello", "max_tokens": 1}'
Open = Callable[[], socket.socket]


@contextlib.contextmanager
def limited(llm: Any, **settings: Any) -> Iterator[tuple[Server, Open, Any]]:
    """A server whose connections have limits, how to connect to it, and its loop."""
    asked = Settings(**settings)
    http = limited_protocol(asked)
    with serve(llm, settings=asked, http=http) as running:
        address = ("127.0.0.1", int(running.url.rpartition(":")[2]))
        yield running.server, lambda: socket.create_connection(address, LONG_WAIT), running.loop


@pytest.fixture(params=["httptools", "h11"], scope="module")
def quick(request: pytest.FixtureRequest, echo_model: Path) -> Iterator[Open]:
    """A server with little patience, on each of uvicorn's protocols."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "h11":
            patch.setattr(connections, "AutoHTTPProtocol", H11Protocol)
        limits = {"header_seconds": SOON, "body_seconds": SOON, "max_header_bytes": 4096}
        with limited(echo_llm(echo_model), **limits) as (_, opened, _):
            yield opened


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    with connection, connection.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST", HEAD, HEAD + b"X-Long: a"])
def test_a_head_that_does_not_end_is_given_up(quick: Open, sent: bytes) -> None:
    connection = quick()
    connection.sendall(sent)
    got = answer(connection)
    # an empty line before a request is passed over, by h11 only where a request follows
    assert got.split()[1:2] == [b"408"] or (not got and not sent) or (sent == b"\r\n" and got)


def test_a_second_head_has_no_more_time_than_the_first(quick: Open) -> None:
    connection = quick()
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 " in connection.recv(4096)
    connection.sendall(b"GET")
    assert b" 408 " in answer(connection)


def test_whoever_only_waits_for_an_answer_is_not_given_up(echo_model: Path) -> None:
    slow = echo_llm(echo_model, engine_args={"delay": 0.1})
    with limited(slow, header_seconds=SOON, body_seconds=SOON) as (_, opened, _):
        connection = opened()
        body = b'{"prompt": "hello", "max_tokens": 8, "ignore_eos": true}'
        head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        assert b'"completion_tokens":8' in answer(connection).replace(b" ", b"")


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_may_take_a_day_with_every_default(echo_model: Path, stream: bool) -> None:
    """On a clock that is put forward by a day while it is made: whatever has a limit of time, in
    the server or in the engine, has then passed it.
    """
    begun = threading.Event()
    slow = echo_llm(echo_model, engine_args={"delay": 0.05})
    http = limited_protocol(Settings())
    with serve(slow, http=http) as running, Client(running.url) as client:

        def put_forward() -> None:
            now = running.loop.time
            running.loop.time = lambda: now() + DAY  # type: ignore[method-assign]
            begun.set()

        def ask() -> str:
            asked = {"max_tokens": 20, "ignore_eos": True}
            if stream:
                parts = client.stream("hello", **asked)
                return "".join(one.text for part in parts for one in part.outputs)
            return client.generate("hello", **asked).outputs[0].text

        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask)
            running.wait_until(lambda: running.llm.stats().running == 1)
            running.loop.call_soon_threadsafe(put_forward)
            assert begun.wait(LONG_WAIT)
            assert not answer.done()
            assert answer.result(LONG_WAIT)


def test_an_unfinished_head_is_not_kept_without_bound(quick: Open) -> None:
    connection = quick()
    with contextlib.suppress(ConnectionError):
        connection.sendall(HEAD)
        for at in range(1000):
            connection.sendall(b"X-%d: %s\r\n" % (at, b"a" * 1000))
    with contextlib.suppress(ConnectionError):
        assert answer(connection).split()[1] in (b"431", b"400")


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 100\r\n\r\n",
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
def test_a_body_that_does_not_end_is_answered_in_time(quick: Open, sent: bytes) -> None:
    connection = quick()
    connection.sendall(sent)
    got = answer(connection)
    assert b" 408 " in got
    assert b"request_timeout" in got
    assert b"connection: close" in got.lower()


def test_what_is_left_of_a_body_after_its_answer_has_no_time_of_its_own(quick: Open) -> None:
    connection = quick()
    head = HEAD.replace(b"completions", b"nowhere")
    connection.sendall(head + b"Content-Length: 100\r\n\r\n{")
    assert b" 404 " in answer(connection)


def test_repeated_names_count_each_time(quick: Open) -> None:
    connection = quick()
    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
    connection.sendall(b"X-Same: aaaaaaaa\r\n" * 300 + b"\r\n")
    assert b" 400 " in answer(connection)


def test_a_path_is_bounded_like_headers(quick: Open) -> None:
    connection = quick()
    connection.sendall(
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert b" 400 " in answer(connection)


def test_half_a_body_holds_neither_slots_nor_the_drain(
    echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openllm.http import limits

    monkeypatch.setattr(limits, "_HURRY_SECONDS", SOON)
    with limited(echo_llm(echo_model)) as (server, opened, loop):
        halves = [opened() for _ in range(8)]
        for connection in halves:
            connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        while server.limits.live < len(halves):
            threading.Event().wait(0.005)
        draining = asyncio.run_coroutine_threadsafe(server.drain(LONG_WAIT), loop)
        assert draining.result(LONG_WAIT)
        assert all(b" 408 " in answer(connection) for connection in halves)


@attrs.frozen
class Unread:
    """A stream of 2 MB to a client that has read nothing of it, and has buffers for little."""

    running: Running
    all_open: Connections
    client: socket.socket

    def wait_held_up(self) -> None:
        self.running.wait_until(lambda: any(one.flow.write_paused for one in self.all_open))

    def wait_idle(self) -> None:
        """Return once it is answered, or given up."""
        self.running.run(self.running.server.limits.wait_idle())

    def rest(self) -> bytes:
        """All that is left for the client, however its connection ends."""
        found = b""
        with contextlib.suppress(ConnectionError):
            while part := self.client.recv(1 << 16):
                found += part
        return found


@contextlib.contextmanager
def unread(model: Path, seconds: float) -> Iterator[Unread]:
    """One whose client may read nothing for so many seconds."""
    settings = Settings(send_seconds=seconds)
    http = limited_protocol(settings)
    with (
        serve(echo_llm(model), settings=settings, http=http, send_buffer=1 << 16) as running,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        client.settimeout(LONG_WAIT)
        client.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
        body = b'{"prompt": "hi", "max_tokens": 1000, "ignore_eos": true, "n": 16,'
        body += b' "stream": true}'
        head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(body) + body)
        found = Unread(running, http.all_open, client)
        found.wait_held_up()
        yield found


@pytest.mark.parametrize("protocol", ["httptools", "h11"])
def test_whoever_reads_nothing_is_hung_up_on(
    echo_model: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Its slot is free again, and what was kept for it is gone."""
    if protocol == "h11":
        monkeypatch.setattr(connections, "AutoHTTPProtocol", H11Protocol)
    with unread(echo_model, SOON) as stream:
        stream.wait_idle()
        assert b"[DONE]" not in stream.rest()
        stream.running.wait_until(lambda: not list(stream.all_open))


def test_whoever_reads_slowly_gets_all(echo_model: Path) -> None:
    with unread(echo_model, 1.0) as stream:
        for _ in range(12):
            time.sleep(0.1)
            stream.client.recv(1 << 14)
        assert b"data: [DONE]" in stream.rest()


@pytest.mark.parametrize("ending", ["drains", "ends"])
def test_nobody_holds_up_the_end_by_reading_nothing(
    echo_model: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(connections, "LAST_SECONDS", SOON)
    with unread(echo_model, 0.0) as stream:

        async def end() -> None:
            if ending == "drains":
                stream.all_open.hurry(SOON)
            else:
                stream.all_open.finish()

        stream.running.run(end())
        stream.wait_idle()
        assert b"[DONE]" not in stream.rest()
