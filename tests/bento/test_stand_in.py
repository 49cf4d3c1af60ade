"""Who answers while no worker does: nobody waits for one that is being started again."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator

import attrs
import httpx
import pytest

from openllm.bento.stand_in import StandIn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads Linux's TCP_INFO")
WAIT = 20.0  # seconds; for what should take half of one


@attrs.frozen
class Door:
    """A listening socket that no worker takes connections from, and who stands in."""

    listener: socket.socket
    stand_in: StandIn

    def ask(self, **options: object) -> httpx.Response:
        port = self.listener.getsockname()[1]
        return httpx.post(f"http://127.0.0.1:{port}/v1/completions", timeout=WAIT, **options)  # type: ignore[arg-type]  # httpx's own


@pytest.fixture
def door() -> Iterator[Door]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stand_in = StandIn(listener)
        yield Door(listener, stand_in)
        stand_in.close()


@pytest.mark.parametrize("size", [0, 300_000])
def test_it_refuses_as_the_server_does(door: Door, size: int) -> None:
    door.stand_in.call()
    answer = door.ask(content=b"x" * size)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "overloaded"
    assert int(answer.headers["retry-after"]) > 0
    assert door.ask().status_code == 503  # and goes on


def test_it_leaves_connections_to_a_worker(door: Door) -> None:
    """What a worker takes is its own from then on, also what waits as long as it likes."""
    found: list[httpx.Response] = []
    asking = [threading.Thread(target=lambda: found.append(door.ask())) for _ in range(2)]
    for one in asking:
        one.start()  # nobody has called it yet: they wait
    while door.stand_in._waiting() < 2:
        threading.Event().wait(0.01)
    door.stand_in.call()
    for _ in asking:
        connection, _ = door.listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        connection.close()
    for one in asking:
        one.join(WAIT)
    assert [answer.status_code for answer in found] == [200, 200]


def test_it_closes_while_it_stands_in(door: Door) -> None:
    door.stand_in.call()
    assert door.ask().status_code == 503
    door.stand_in.close()
    assert not door.stand_in._thread.is_alive()
