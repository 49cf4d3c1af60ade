"""The server's life: loading, ready, draining, closed; and the one place where unknown failures
end.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openllm import protocols
from openllm.answer.assembler import ChoiceAssembler
from openllm.backends.echo.backend import EchoBackend
from openllm.backends.select import find_backend
from openllm.config.logs import FIELDS, JSONFormatter
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.discovery import variants
from openllm.errors import ConfigurationError, WeightsError
from openllm.http.app import Server, create_app
from openllm.llm.llm import LLM
from openllm.types import AnswerDelta, TokenDelta
from tests.serving import LONG_WAIT, Running, serve, write_echo_model

ENDLESS: Any = {"prompt": "hello", "ignore_eos": True, "max_tokens": 400}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("server") / "echo-model")


def echo(weights: Path, **spec: Any) -> LLM:
    return LLM.from_spec(
        LLMSpec(model_id=str(weights), name="echo", backend="echo", **spec), weights
    )


@pytest.fixture
def slow(weights: Path) -> Iterator[Running]:
    with serve(echo(weights, engine_args={"delay": 0.01})) as found:
        yield found


def test_protocols_are_found_by_being_there() -> None:
    folder = Path(protocols.__file__).parent
    assert set(variants("openllm.protocols")) == {path.stem for path in folder.glob("[!_]*")}
    assert {"admin", "native", "openai", "page"} <= set(variants("openllm.protocols"))


def test_protocols_that_are_not_named_are_not_served(weights: Path) -> None:
    settings = Settings(protocols=("native", "page"))
    with serve(echo(weights), settings=settings) as running, running.client() as client:
        assert client.get("/v1/metadata").status_code == 200
        assert client.get("/").status_code == 200
        assert client.get("/livez").status_code == 200
        absent = client.post("/v1/completions", json={"prompt": "hello"})
    assert absent.status_code == 404


def test_a_server_without_models_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        create_app([], Settings())


def test_it_is_alive_before_it_is_ready(weights: Path) -> None:
    with serve(echo(weights), lifespan=False) as running, running.client() as client:
        assert client.get("/livez").json() == {"status": "alive"}
        for path in ("/readyz", "/health"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "loading")
        assert client.get("/v1/models").json()["data"][0]["id"] == "echo"
        assert client.get("/v1/metadata").json()["ready"] is False
        assert client.get("/metrics").status_code == 200
        early = client.post("/v1/completions", json={"prompt": "hello"})
        assert (early.status_code, early.json()["error"]["code"]) == (503, "overloaded")
        assert int(early.headers["retry-after"]) > 0
        running.run(running.server.start())
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.post("/v1/completions", json={"prompt": "hello"}).status_code == 200
        running.run(running.server.close())
        assert client.get("/readyz").status_code == 503


def test_draining_refuses_what_is_new_and_finishes_what_runs(slow: Running) -> None:
    server = slow.server
    with slow.client() as client, slow.client() as late:
        with client.stream(
            "POST", "/v1/completions", json={**ENDLESS, "max_tokens": 50, "stream": True}
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            drain = asyncio.run_coroutine_threadsafe(server.drain(20), slow.loop)
            slow.wait_until(lambda: server.limits.draining)
            assert late.get("/readyz").json() == {"status": "draining"}
            assert late.get("/livez").status_code == 200
            refused = late.post("/v1/completions", json={"prompt": "hello"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert drain.result(20) is True


def test_draining_ends_when_its_time_is_over(slow: Running) -> None:
    with (
        slow.client() as client,
        client.stream("POST", "/v1/completions", json={**ENDLESS, "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        assert slow.run(slow.server.drain(0.05)) is False


def test_an_engine_that_is_closed_can_collect_what_was_loaded(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = []
    closing = find_backend("echo").close

    async def close(backend: Any) -> None:
        frozen.append(gc.get_freeze_count())
        await closing(backend)

    monkeypatch.setattr(find_backend("echo"), "close", close)

    async def life() -> None:
        server = Server([echo(weights)], Settings())
        await server.start()
        assert gc.get_freeze_count() > 0
        await server.close()

    asyncio.run(life())
    assert frozen == [0]


def test_closing_twice_and_starting_twice_is_fine(weights: Path) -> None:
    async def live() -> None:
        server = Server([echo(weights)], Settings())
        await asyncio.gather(server.start(), server.start())
        assert server.ready
        assert server.alive
        await server.close()
        await server.close()
        assert not server.ready

    asyncio.run(live())


class Slow(EchoBackend):
    """Starts once it is let; `begun` tells whose start has."""

    def __init__(self, spec: LLMSpec, *rest: Any) -> None:
        super().__init__(spec, *rest)
        self.begun, self.let = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self.begun.set()
        await self.let.wait()
        await super().start()


class Elsewhere(Slow):
    elsewhere = True


def slowly(kind: type[Slow], weights: Path, name: str) -> LLM:
    spec = LLMSpec(model_id=str(weights), name=name, backend="echo")
    return LLM.from_spec(spec, weights, lambda *parts: (kind(*parts), "for a test"))


async def test_engines_of_their_own_processes_start_side_by_side(weights: Path) -> None:
    first, second = (slowly(Elsewhere, weights, name) for name in ("first", "second"))
    server = Server([first, second], Settings())
    async with asyncio.timeout(LONG_WAIT), asyncio.TaskGroup() as group:
        starting = group.create_task(server.start())
        await second.backend.begun.wait()
        second.backend.let.set()
        await second.start()
        assert second.started  # and answers, while the first one loads
        assert not first.started
        assert not server.ready
        first.backend.let.set()
        await starting
        assert server.ready
    await server.close()


async def test_engines_of_this_process_start_one_after_the_other(weights: Path) -> None:
    first, second = (slowly(Slow, weights, name) for name in ("first", "second"))
    server = Server([first, second], Settings())
    second.backend.let.set()
    async with asyncio.timeout(LONG_WAIT), asyncio.TaskGroup() as group:
        starting = group.create_task(server.start())
        await first.backend.begun.wait()
        assert not second.backend.begun.is_set()
        first.backend.let.set()
        await starting
        assert second.backend.begun.is_set()
    await server.close()


async def test_a_start_that_fails_begins_no_other_in_this_process(weights: Path) -> None:
    class Failing(Slow):
        async def start(self) -> None:
            raise WeightsError("There is none.")

    first, second = slowly(Failing, weights, "first"), slowly(Slow, weights, "second")
    server = Server([first, second], Settings())
    with pytest.raises(WeightsError):
        await server.start()
    await server.close()
    assert not second.backend.begun.is_set()


def test_an_llm_that_cannot_start_fails_the_startup_in_one_line(tmp_path: Path) -> None:
    llm = LLM.from_spec(LLMSpec(model_id=str(tmp_path / "none"), backend="echo"))
    sent: list[Any] = []

    async def lifespan() -> None:
        server = Server([llm], Settings())
        messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await server({"type": "lifespan"}, receive, send)
        with pytest.raises(WeightsError):
            await server.start()

    asyncio.run(lifespan())
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "\n" not in sent[0]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_failure_is_a_500_that_tells_nothing(
    slow: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("/secret/path and a prompt")

    monkeypatch.setattr(slow.llm, "sampling_params", fail)
    with caplog.at_level(logging.INFO, "openllm"), slow.client() as client:
        answer = client.post("/v1/completions", json={"prompt": "hello", "stream": stream})
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.headers["x-request-id"] in answer.text
        for word in ("secret", "RuntimeError", "Traceback"):
            assert word not in answer.text
        assert "RuntimeError" in caplog.text
        assert "secret" not in caplog.text
        monkeypatch.undo()
        assert client.post("/v1/completions", json={"prompt": "hello"}).status_code == 200


def test_an_unknown_failure_in_the_middle_of_a_stream_is_its_last_event(
    slow: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = ChoiceAssembler.feed

    def fail(choice: ChoiceAssembler, delta: TokenDelta) -> AnswerDelta:
        if choice.tokens and len(choice.prompt_token_ids) < 5:
            raise RuntimeError("/secret/path")
        return feed(choice, delta)

    monkeypatch.setattr(ChoiceAssembler, "feed", fail)
    with slow.client() as client:
        for prompt in ("hello", ["hello", "hello world, hello world"]):
            answer = client.post(
                "/v1/completions", json={"prompt": prompt, "stream": True, "ignore_eos": True}
            )
            assert answer.status_code == 200
            last = answer.text.split("\n\n")[-2]
            assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
            assert "secret" not in answer.text
        slow.wait_until(lambda: slow.llm.stats().running == 0)


def test_the_access_log_has_a_line_per_request_and_no_prompt(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openllm")
    with (
        serve(echo(weights), settings=Settings(access_log=True)) as running,
        running.client() as client,
    ):
        client.post(
            "/v1/completions", json={"prompt": "hello world"}, headers={"x-request-id": "id-7"}
        )
    assert any("id-7 POST /v1/completions 200" in line for line in caplog.messages)
    assert "hello" not in caplog.text


def test_as_json_a_request_is_one_line_of_what_it_cost_and_no_prompt(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openllm")
    with (
        serve(echo(weights), settings=Settings(log_format="json")) as running,
        running.client(headers={"x-request-id": "id-8"}) as client,
    ):
        usage = client.post("/v1/completions", json={"prompt": "hello world"}).json()["usage"]
    [record] = [one for one in caplog.records if hasattr(one, FIELDS)]
    line = json.loads(JSONFormatter().format(record))
    assert (line["request_id"], line["route"], line["status"]) == ("id-8", "/v1/completions", 200)
    assert (line["level"], line["model"], line["key"]) == ("info", "echo", "")
    assert line["prompt_tokens"] == usage["prompt_tokens"]
    assert line["completion_tokens"] == usage["completion_tokens"]
    assert line["seconds"] >= line["first_token_seconds"] > 0
    assert {"queue_seconds", "prefill_seconds", "decode_seconds"} <= set(line)
    assert "hello" not in json.dumps(line)


def test_an_application_mounted_below_a_path_works(weights: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    server = Server([echo(weights)], Settings(api_key="k"))
    client = TestClient(Starlette(routes=[Mount("/llm", app=server)]))
    assert client.get("/llm/livez").status_code == 200
    assert client.get("/llm/v1/models").status_code == 401
    models = client.get("/llm/v1/models", headers={"Authorization": "Bearer k"})
    assert models.json()["data"][0]["id"] == "echo"
    assert client.get("/llm/", headers={"Authorization": "Bearer k"}).status_code == 200


def test_websockets_are_closed(weights: Path) -> None:
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    client = TestClient(Server([echo(weights)], Settings()))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/chat/completions"):
        pass
