"""A running request is cancelled by another, by its id: its own key may, and an administrator."""

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

ENDLESS = {"prompt": "hello world", "max_tokens": 400, "ignore_eos": True}
USER, ADMIN = {"authorization": "Bearer user"}, {"authorization": "Bearer admin"}


@pytest.fixture(scope="module")
def slow(echo_model: Path) -> Iterator[Running]:
    """A server whose answers take longer than any test."""
    llm = echo_llm(echo_model, engine_args={"delay": 1.0})
    settings = Settings(api_key="user", admin_key="admin", sse_keepalive=0.2)
    with serve(llm, settings=settings) as found:
        yield found


def begin(running: Running, request_id: str, found: list[httpx.Response]) -> threading.Thread:
    def ask() -> None:
        with running.client(headers={**USER, "x-request-id": request_id}) as client:
            found.append(client.post("/v1/completions", json=ENDLESS))

    thread = threading.Thread(target=ask)
    thread.start()
    running.wait_until(lambda: running.llm.stats().running > 0)
    return thread


def cancel(running: Running, request_id: str, key: dict[str, str]) -> httpx.Response:
    with running.client(headers=key) as client:
        return client.post(f"/v1/requests/{request_id}/cancel")


@pytest.mark.parametrize(("name", "key"), [("mine", USER), ("cmpl-mine", USER), ("mine", ADMIN)])
def test_a_whole_answer_is_cancelled(slow: Running, name: str, key: dict[str, str]) -> None:
    found: list[httpx.Response] = []
    thread = begin(slow, "mine", found)
    assert cancel(slow, name, key).json() == {"id": name, "status": "cancelled"}
    thread.join(LONG_WAIT)
    [answer] = found
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "request_cancelled")
    assert answer.headers["x-request-id"] == "mine"
    slow.wait_until(lambda: slow.llm.stats().running == 0)


def test_an_administrator_sees_what_runs(slow: Running) -> None:
    found: list[httpx.Response] = []
    thread = begin(slow, "seen", found)
    slow.wait_until(lambda: bool(slow.server._shared.live.facts()[0].get("completion_tokens")))
    with slow.client() as client:
        assert client.get("/debug/requests").status_code == 401
        assert client.get("/debug/requests", headers=USER).status_code == 403
        page = client.get("/debug/requests", headers=ADMIN)
    [request] = page.json()["requests"]
    assert (request["request_id"], request["key"], request["model"]) == ("seen", "user", "echo")
    assert (request["route"], request["state"]) == ("/v1/completions", "answering")
    assert request["prompt_tokens"] > 0
    assert request["completion_tokens"] > 0
    assert request["seconds"] > request["first_token_seconds"] > 0
    assert "hello" not in page.text
    cancel(slow, "seen", ADMIN)
    thread.join(LONG_WAIT)
    with slow.client() as client:
        assert client.get("/debug/requests", headers=ADMIN).json()["requests"] == []


def test_a_stream_has_its_headers_at_once_and_comments_while_it_waits(slow: Running) -> None:
    body: Any = {**ENDLESS, "stream": True}
    with (
        slow.client(headers={**USER, "x-request-id": "streamed"}) as client,
        client.stream("POST", "/v1/completions", json=body) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] == "streamed"
        lines = answer.iter_lines()
        assert next(lines) == ": still here"  # no token can have come yet
        assert cancel(slow, "streamed", USER).status_code == 200
        assert "request_cancelled" in "".join(lines)


def test_what_does_not_run_is_a_404(slow: Running) -> None:
    answer = cancel(slow, "nobody", USER)
    assert answer.status_code == 404
    assert "'nobody'" in answer.json()["error"]["message"]


def test_another_key_may_not(slow: Running) -> None:
    found: list[httpx.Response] = []
    thread = begin(slow, "private", found)
    assert cancel(slow, "private", {}).status_code == 401
    assert cancel(slow, "private", USER).status_code == 200
    thread.join(LONG_WAIT)
