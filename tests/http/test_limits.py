"""How much comes in: bodies, headers and requests per key are bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import LONG_WAIT, Running, serve

KEY = {"Authorization": "Bearer user-key"}


@pytest.fixture(scope="module")
def locked(echo_model: Path) -> Iterator[Running]:
    settings = Settings(api_key="user-key", max_body_bytes=4096, max_header_bytes=4096)
    with serve(echo_llm(echo_model), settings=settings) as found:
        yield found


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("body", [b"x" * 5000, b"x" * 3_000_000])
def test_a_body_that_is_announced_too_long_is_not_read(locked: Running, body: bytes) -> None:
    with locked.client(headers=KEY) as client:
        answer = client.post("/v1/completions", content=body)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "payload_too_large"
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("size", [5000, 3_000_000])
def test_a_body_that_turns_out_too_long_is_given_up(locked: Running, size: int) -> None:
    with locked.client(headers=KEY) as client:
        answer = client.post("/v1/completions", content=pieces(size))
    assert answer.status_code == 413


def test_headers_are_bounded(locked: Running) -> None:
    with locked.client(headers=KEY) as client:
        assert client.get("/v1/models", headers={"x-long": "a" * 5000}).status_code == 400


def test_compressed_bodies_are_refused_by_name(client: httpx.Client) -> None:
    answer = client.post("/v1/completions", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert "Content-Encoding" in answer.text


def test_one_key_may_have_only_so_many_requests_in_flight(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.05})
    body: Any = {"prompt": "hello", "max_tokens": 400, "ignore_eos": True}
    settings = Settings(max_requests_per_key=1)
    with (
        serve(llm, settings=settings) as running,
        running.client() as client,
        running.client() as other,
    ):
        thread = threading.Thread(
            target=lambda: other.post("/v1/completions", json=body), daemon=True
        )
        thread.start()
        running.wait_until(lambda: running.llm.stats().running == 1)
        answer = client.post("/v1/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/v1/models").status_code == 200
        running.run(running.server.close())
        thread.join(LONG_WAIT)
