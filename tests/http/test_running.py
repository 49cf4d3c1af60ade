"""Requests under way: cancelled when nobody reads, failing as a status or as an event, several
prompts as one.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import LONG_WAIT, Running, serve

MESSAGES: Any = [{"role": "user", "content": "hello world"}]
ENDLESS: Any = {"ignore_eos": True, "min_tokens": 400, "max_tokens": 400}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": MESSAGES, **ENDLESS}),
    ("/v1/chat/completions", {"messages": MESSAGES, **ENDLESS, "n": 3, "stream": True}),
    ("/v1/completions", {"prompt": ["hello", "world"], **ENDLESS}),
    ("/v1/completions", {"prompt": ["hello", "world"], **ENDLESS, "stream": True}),
    ("/v1/generate", {"prompt": "hello", **ENDLESS}),
    ("/v1/generate_stream", {"prompt": "hello", **ENDLESS}),
]


@pytest.fixture(scope="module")
def slow(echo_model: Path) -> Iterator[Running]:
    """An answer of 400 tokens takes 20 seconds."""
    with serve(echo_llm(echo_model, engine_args={"delay": 0.05})) as found:
        yield found


def idle(running: Running) -> bool:
    stats = running.llm.stats()
    return not (stats.running or stats.waiting or running.server.limits.live)


@pytest.mark.parametrize(("path", "body"), REQUESTS)
def test_a_client_that_leaves_frees_the_engine(
    slow: Running, path: str, body: dict[str, Any]
) -> None:
    slow.wait_until(lambda: idle(slow))
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
    host, port = slow.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LONG_WAIT) as connection:
        connection.sendall(head + payload)
        slow.wait_until(lambda: slow.llm.stats().running > 0)
    slow.wait_until(lambda: idle(slow))


def test_breaking_off_the_official_clients_stream_frees_the_engine(slow: Running) -> None:
    with slow.openai() as official:
        stream = official.chat.completions.create(
            model="echo", messages=MESSAGES, stream=True, extra_body=ENDLESS
        )
        next(iter(stream))
        assert slow.llm.stats().running == 1
        stream.close()
        slow.wait_until(lambda: idle(slow))


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(slow: Running) -> None:
    host, port = slow.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LONG_WAIT) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
        slow.wait_until(lambda: slow.server.limits.live == 1)
    slow.wait_until(lambda: idle(slow))


def test_the_first_token_does_not_wait_for_the_others(slow: Running) -> None:
    body = {"messages": MESSAGES, "stream": True, **ENDLESS}
    with (
        slow.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        parts = answer.iter_bytes()
        next(parts)
        assert slow.llm.stats().running == 1
    slow.wait_until(lambda: idle(slow))


@pytest.mark.parametrize("options", [{"delay": 0.001, "die_after": 3}])
def test_an_engine_that_dies_ends_a_stream_with_an_error_event(
    echo_model: Path, options: dict[str, float]
) -> None:
    with serve(echo_llm(echo_model, engine_args=options)) as running, running.client() as client:
        answer = client.post("/v1/chat/completions", json={"messages": MESSAGES, "stream": True})
        assert answer.status_code == 200
        *chunks, last, rest = answer.text.split("\n\n")
        assert rest == ""
        assert all("choices" in chunk for chunk in chunks)
        error = json.loads(last.removeprefix("data: "))["error"]
        assert error["code"] == "engine_dead"
        assert error.keys() == {"message", "type", "param", "code"}
        later = client.post("/v1/chat/completions", json={"messages": MESSAGES})
        assert (later.status_code, later.json()["error"]["code"]) == (503, "engine_dead")
        assert client.get("/readyz").status_code == client.get("/livez").status_code == 503
        assert client.get("/v1/models").status_code == 200


def test_the_official_client_raises_what_an_error_event_says(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.001, "die_after": 3})
    with serve(llm) as running, running.openai() as official:
        stream = official.chat.completions.create(model="echo", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="has stopped"):
            list(stream)


def test_an_engine_that_dies_before_the_first_token_is_a_status(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"die_after": 1})
    with serve(llm) as running, running.client() as client:
        client.post("/v1/completions", json={"prompt": "hello", "max_tokens": 5})
        answer = client.post("/v1/completions", json={"prompt": "hello", "stream": True})
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_queue_is_a_503_that_says_when_to_come_back(echo_model: Path, stream: bool) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.05}, max_num_seqs=1, max_queue=1)
    body = {"prompt": "hello", "stream": stream, **ENDLESS}
    with serve(llm) as running, running.client() as client:
        statuses: list[int] = []
        with httpx.Client(base_url=running.url, timeout=LONG_WAIT) as other:
            threads = [_post_and_leave(other, body, statuses)]
            running.wait_until(lambda: running.llm.stats().running == 1)
            threads.append(_post_and_leave(other, body, statuses))
            running.wait_until(lambda: running.llm.stats().waiting == 1)
            answer = client.post("/v1/completions", json=body)
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["error"]["type"] == "overloaded_error"
            many = client.post("/v1/completions", json={**body, "prompt": ["hello", "world"]})
            assert many.status_code == 503
            running.run(running.server.close())
            for thread in threads:
                thread.join(LONG_WAIT)


def _post_and_leave(
    client: httpx.Client, body: dict[str, Any], statuses: list[int]
) -> threading.Thread:
    def post() -> None:
        statuses.append(client.post("/v1/completions", json=body).status_code)

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    return thread


def test_closing_the_server_ends_what_runs_as_cancelled(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.05})
    with serve(llm) as running, running.client() as client:
        body = {"prompt": "hello", "stream": True, **ENDLESS}
        with client.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            running.run(running.server.close())
            rest = [line for line in lines if line]
        assert "error" in json.loads(rest[-1].removeprefix("data: "))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_longer_than_the_operator_allows_is_ended(
    echo_model: Path, stream: bool
) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.05})
    body = {"prompt": "hello", "stream": stream, **ENDLESS}
    with serve(llm, settings=Settings(request_seconds=0.3)) as running, running.client() as client:
        answer = client.post("/v1/completions", json=body)
        assert "not complete within 0.3 seconds" in answer.text
        assert answer.status_code == (200 if stream else 503)
        running.wait_until(lambda: idle(running))


def test_prompt_tokens_that_wait_are_bounded(echo_model: Path) -> None:
    llm = echo_llm(echo_model, engine_args={"delay": 0.05}, max_num_seqs=1)
    body = {"prompt": "hello world", **ENDLESS}
    with serve(llm, settings=Settings(max_queued_tokens=10)) as running, running.client() as client:
        statuses: list[int] = []
        with httpx.Client(base_url=running.url, timeout=LONG_WAIT) as other:
            threads = [_post_and_leave(other, body, statuses)]
            running.wait_until(lambda: running.llm.stats().running == 1)
            running.wait_until(lambda: running.server.queue.waiting == 0)
            threads.append(_post_and_leave(other, body, statuses))
            running.wait_until(lambda: running.llm.stats().waiting == 1)
            answer = client.post("/v1/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
            running.run(running.server.close())
            for thread in threads:
                thread.join(LONG_WAIT)
        assert running.server.queue.waiting == 0
