"""Keys with names on a running server: which models each may use, how much, and what is told."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from openllm.http.keys.file import KeyFile
from openllm.types import new_request_id
from tests.http.keys.test_file import entry, write
from tests.protocols.conftest import echo_llm
from tests.serving import LONG_WAIT, Running, serve

COMPLETIONS = "/v1/completions"
SHORT: dict[str, Any] = {"model": "echo", "prompt": [5], "max_tokens": 1}
LONG: dict[str, Any] = {
    "model": "echo",
    "prompt": "hello",
    "max_tokens": 400,
    "ignore_eos": True,
    "stream": True,
}


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-key"}


def keys_of(running: Running) -> KeyFile:
    assert running.server.keys is not None
    return running.server.keys


@contextlib.contextmanager
def locked(
    echo_model: Path, folder: Path, *entries: Any, settings: Any = None, **spec: Any
) -> Iterator[Running]:
    """Two models behind a file of keys."""
    path = write(folder / "keys.yaml", *entries)
    made = Settings(api_keys_file=path, admin_key="admin-key", **(settings or {}))
    llms = echo_llm(echo_model, **spec), echo_llm(echo_model, name="other")
    with serve(*llms, settings=made) as running:
        yield running


@pytest.fixture(scope="module")
def shared(echo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("keys")
    entries = [
        entry("all"),
        entry("some", models=["ech*"]),
        entry("none", models=["gone"]),
        entry("old", expires="2020-01-01"),
        entry("counted", requests_per_minute=10, tokens_per_minute=100_000),
    ]
    settings = {"access_log": True, "api_key": "one-key"}
    with locked(echo_model, folder, *entries, settings=settings) as running:
        yield running


def test_a_key_of_the_file_opens_the_door_and_nothing_else_does(shared: Running) -> None:
    with shared.client() as client:
        for name in ("all", "some", "one", "admin"):
            assert client.post(COMPLETIONS, json=SHORT, headers=key(name)).status_code == 200
        for headers in ({}, key("nobody"), {"Authorization": "Bearer all"}):
            answer = client.post(COMPLETIONS, json=SHORT, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        old = client.get("/v1/models", headers=key("old"))
        assert (old.status_code, "expired" in old.text) == (401, True)
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_a_key_sees_and_uses_its_own_models_only(shared: Running) -> None:
    def listed(name: str) -> list[str]:
        with shared.openai(f"{name}-key") as client:
            return [model.id for model in client.models.list()]

    assert listed("all") == ["echo", "other"]
    assert listed("some") == ["echo"]
    assert listed("none") == []
    with shared.openai("some-key") as client:
        with pytest.raises(openai.NotFoundError) as refused:
            client.completions.create(model="other", prompt="hello")
        missing = str(refused.value)
        with pytest.raises(openai.NotFoundError) as refused:
            client.completions.create(model="othes", prompt="hello")
        assert str(refused.value) == missing.replace("'other'", "'othes'")
        assert client.models.retrieve("echo").id == "echo"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("other")
    with shared.client(headers=key("some")) as client:  # one model is left: it need not be named
        nameless = {"prompt": [5], "max_tokens": 1}
        assert client.post(COMPLETIONS, json=nameless).json()["model"] == "echo"
        metadata = client.get("/v1/metadata").json()
        assert "other" not in str(metadata)
    with shared.openai("none-key") as client, pytest.raises(openai.PermissionDeniedError):
        client.completions.create(model="echo", prompt="hello")


def test_what_a_key_uses_is_told_under_its_name_and_never_as_the_key(
    shared: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openllm.http.app")
    request_id = new_request_id()
    headers = {**key("counted"), "x-request-id": request_id}
    with shared.client() as client:
        for _ in range(2):
            body = {**SHORT, "max_tokens": 3, "ignore_eos": True}
            assert client.post(COMPLETIONS, json=body, headers=headers).status_code == 200
        client.post("/v1/embeddings", json={"model": "echo", "input": [[1, 2]]}, headers=headers)
        page = client.get("/metrics", headers=key("admin")).text
        assert client.get("/metrics", headers=key("one")).status_code == 200
        assert client.get("/metrics", headers=key("counted")).status_code == 403
    assert 'openllm_key_requests_total{key="counted"} 3.0' in page
    assert 'openllm_key_prompt_tokens_total{key="counted"} 4.0' in page
    assert 'openllm_key_completion_tokens_total{key="counted"} 6.0' in page
    assert 'openllm_key_requests_live{key="counted"} 0.0' in page
    assert "counted-key" not in page
    said = [line for line in caplog.messages if line.startswith(request_id)]
    assert len(said) == 3
    assert all(line.startswith(f"{request_id} counted POST /v1/") for line in said)
    assert "counted-key" not in caplog.text


def test_metrics_have_a_switch_of_their_own(echo_model: Path, tmp_path: Path) -> None:
    opened = {"open_metrics": True}
    with (
        locked(echo_model, tmp_path, entry("a"), settings=opened) as running,
        running.client() as client,
    ):
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/models").status_code == 401


def test_answers_say_what_is_left(shared: Running) -> None:
    with shared.openai("counted-key") as client:
        answer = client.completions.with_raw_response.create(**SHORT)
    assert answer.headers["x-ratelimit-limit-requests"] == "10"
    assert answer.headers["x-ratelimit-limit-tokens"] == "100000"
    assert int(answer.headers["x-ratelimit-remaining-requests"]) < 10
    assert answer.headers["x-ratelimit-reset-tokens"].endswith("s")
    body = {"model": "echo", "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}
    with shared.client(headers={"x-api-key": "counted-key"}) as client:
        headers = client.post("/v1/messages", json=body).headers
    assert headers["anthropic-ratelimit-tokens-limit"] == "100000"
    assert int(headers["anthropic-ratelimit-requests-remaining"]) < 10
    assert datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"]).tzinfo
    with shared.client(headers=key("all")) as plain:
        assert not [name for name in plain.get("/v1/models").headers if "ratelimit" in name]


def test_openais_client_waits_for_its_turn_and_succeeds(echo_model: Path, tmp_path: Path) -> None:
    statuses: list[int] = []
    with (
        locked(echo_model, tmp_path, entry("a", tokens_per_minute=300)) as running,
        httpx.Client(event_hooks={"response": [lambda it: statuses.append(it.status_code)]}) as web,
        openai.OpenAI(
            base_url=f"{running.url}/v1", api_key="a-key", max_retries=3, http_client=web
        ) as client,
    ):
        # one token of prompt and 302 of the answer: three more than a minute's worth
        extra = {"ignore_eos": True}
        client.completions.create(model="echo", prompt=[5], max_tokens=302, extra_body=extra)
        with running.client(headers=key("a")) as plain:
            refused = plain.post(COMPLETIONS, json=SHORT)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
        statuses.clear()
        answer = client.completions.create(model="echo", prompt=[5], max_tokens=1)
    assert answer.usage is not None
    assert statuses == [429, 200]


def test_requests_at_once_are_bounded_and_free_again_when_a_client_leaves(
    echo_model: Path, tmp_path: Path
) -> None:
    entries = entry("a", max_requests=1), entry("b")
    slow = {"engine_args": {"delay": 0.05}}
    with (
        locked(echo_model, tmp_path, *entries, **slow) as running,
        running.client(headers=key("a")) as client,
    ):
        with client.stream("POST", COMPLETIONS, json=LONG) as stream:
            lines = stream.iter_lines()  # kept, for one that is dropped closes its stream
            assert next(lines)
            refused = client.post(COMPLETIONS, json=SHORT)
            assert (refused.status_code, int(refused.headers["retry-after"])) == (429, 1)
            assert client.get("/v1/models").status_code == 200
            with running.client(headers=key("b")) as other:
                assert other.post(COMPLETIONS, json=SHORT).status_code == 200
        running.wait_until(lambda: running.server.limits.of("a") == 0)
        running.wait_until(lambda: running.llm.stats().running == 0)
        assert client.post(COMPLETIONS, json=SHORT).status_code == 200


def test_a_key_that_fills_the_engine_leaves_room_for_another(
    echo_model: Path, tmp_path: Path
) -> None:
    spec = {"engine_args": {"delay": 0.05}, "max_num_seqs": 2}
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(locked(echo_model, tmp_path, entry("a"), entry("b"), **spec))
        turns = running.server.turns
        assert turns is not None
        a = stack.enter_context(running.client(headers=key("a")))
        b = stack.enter_context(running.client(headers=key("b")))
        streaming = stack.enter_context(a.stream("POST", COMPLETIONS, json=LONG))
        lines = streaming.iter_lines()
        assert next(lines)
        body = stack.enter_context(running.openai("a-key"))
        with ThreadPoolExecutor(5) as pool:
            waiting = [
                pool.submit(body.completions.create, model="echo", prompt=[5], max_tokens=1)
                for _ in range(5)
            ]
            running.wait_until(lambda: turns.waiting("a") == 5)
            for _ in range(3):
                assert b.post(COMPLETIONS, json=SHORT).status_code == 200
            assert turns.waiting("a") == 5
            streaming.close()  # whose room goes to those that wait
            for answer in waiting:
                assert answer.result(LONG_WAIT).usage is not None


def test_a_changed_file_counts_without_a_restart(echo_model: Path, tmp_path: Path) -> None:
    with locked(echo_model, tmp_path, entry("a")) as running, running.client() as client:
        assert client.get("/v1/models", headers=key("newcomer")).status_code == 401
        write(tmp_path / "keys.yaml", entry("newcomer", models=["other"]))
        running.run(keys_of(running).refresh())
        assert client.get("/v1/models", headers=key("a")).status_code == 401
        found = client.get("/v1/models", headers=key("newcomer")).json()["data"]
        assert [model["id"] for model in found] == ["other"]
        write(tmp_path / "keys.yaml", entry("last-one"))  # seen by the server itself
        running.wait_until(lambda: "last-one" in keys_of(running).accounts)
