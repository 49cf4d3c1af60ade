"""Both clients, against a server that a test scripts and against ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack
from typing import Any

import httpx
import pytest

from openllm import errors
from openllm.client import AsyncClient, ChatDelta, Client, Retries
from openllm.client.connection import read_endpoint
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from openllm.types import Message
from tests.serving import Running, serve, write_echo_model

URL = "http://server:3000"
AT_ONCE = Retries(count=2, first=0)
CHUNK = '{"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}'
Answer = Callable[[httpx.Request], httpx.Response]


def scripted(*answers: httpx.Response | Exception, **options: Any) -> tuple[Client, list[Any]]:
    """A client whose requests get these answers in turn, and what it has asked."""
    asked: list[Any] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        asked.append((request.method, request.url.path, body, request.headers))
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    options = {"retries": AT_ONCE, **options}
    return Client(URL, transport=httpx.MockTransport(answer), **options), asked


def refusal(status: int, code: str | None = None, **headers: str) -> httpx.Response:
    body = {"error": {"message": "Not now. Come back.", "code": code, "param": "n"}}
    return httpx.Response(status, json=body, headers=headers)


def events(*texts: str) -> httpx.Response:
    content = "".join(f"data: {text}\n\n" for text in texts)
    return httpx.Response(200, text=content, headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("localhost:3000", "http://localhost:3000"),
        ("http://h/v1/", "http://h"),
        ("https://h/openllm/v1", "https://h/openllm"),
        (" http://[::1]:3000/ ", "http://[::1]:3000"),
    ],
)
def test_an_endpoint_may_lack_its_scheme_and_have_v1(written: str, read: str) -> None:
    assert read_endpoint(written) == read


@pytest.mark.parametrize("written", ["", "ftp://h", "http://", "h", "h:port", "http://[::1", "a b"])
def test_what_is_no_endpoint_is_refused(written: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no endpoint"):
        Client(written)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, None, errors.InvalidRequest),
        (400, "context_length_exceeded", errors.ContextLengthExceeded),
        (401, "invalid_api_key", errors.Unauthorized),
        (403, None, errors.Forbidden),
        (404, "model_not_found", errors.ModelNotFound),
        (404, None, errors.NotFound),
        (413, None, errors.PayloadTooLarge),
        (418, None, errors.OpenLLMError),
        (500, "engine_error", errors.EngineError),
        (503, "engine_dead", errors.EngineDead),
    ],
)
def test_an_error_comes_as_the_class_the_server_raised(
    status: int, code: str | None, kind: type[errors.OpenLLMError]
) -> None:
    client, asked = scripted(refusal(status, code))
    with client, pytest.raises(errors.OpenLLMError, match=r"Not now\. Come back\.") as caught:
        client.metadata()
    assert type(caught.value) is kind
    assert caught.value.param == "n"
    assert len(asked) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_asked_again(status: int) -> None:
    client, asked = scripted(refusal(status), refusal(status), httpx.Response(200, json={"a": 1}))
    with client:
        assert client.metadata() == {"a": 1}
    assert len(asked) == 3


def test_the_last_refusal_is_raised_with_its_wait() -> None:
    client, asked = scripted(refusal(429, **{"retry-after": "120"}))
    with client, pytest.raises(errors.RateLimited) as caught:
        client.metadata()
    assert (caught.value.retry_after, len(asked)) == (120, 1)


def test_a_wait_is_as_long_as_the_server_says() -> None:
    client, _ = scripted(
        refusal(503, **{"retry-after": "0.2"}), httpx.Response(200, json={}), retries=1
    )
    begun = time.monotonic()
    with client:
        client.metadata()
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (httpx.ConnectError("refused"), "No server answers at http://server:3000."),
        (httpx.ReadTimeout("late"), "took longer than 5 s"),
        (httpx.RemoteProtocolError("peer closed"), "broke off before its end"),
        (httpx.ReadError("reset"), "failed: reset."),
    ],
)
def test_a_connection_that_fails_is_one_error(failure: Exception, says: str) -> None:
    client, asked = scripted(failure, timeout=5)
    with client, pytest.raises(errors.Unreachable, match=says):
        client.metadata()
    assert len(asked) == 1


def test_a_page_is_no_answer() -> None:
    page = httpx.Response(404, text="<html>", headers={"content-type": "text/html"})
    client, _ = scripted(page, httpx.Response(200, text="<html>"), httpx.Response(200, text="<b>"))
    with client:
        with pytest.raises(errors.NotFound, match=r"answered 404 Not Found\. Is it an openllm"):
            client.metadata()
        with pytest.raises(errors.BadAnswer, match="not JSON"):
            client.metadata()
        with pytest.raises(errors.BadAnswer, match="not JSON"):
            list(client.chat_stream("hi", model="m"))


@pytest.mark.parametrize("body", [{}, [], {"data": 1}, {"data": [{}]}, {"data": None}])
def test_json_of_another_shape_is_an_error_of_its_own(body: Any) -> None:
    client, _ = scripted(httpx.Response(200, json=body))
    with client, pytest.raises(errors.BadAnswer, match="has no list of models"):
        client.models()


def test_a_stream_gives_what_came_and_then_its_error() -> None:
    cut, failed = events(CHUNK), events(CHUNK, '{"error": {"message": "The engine failed."}}')
    client, _ = scripted(cut, failed, events(CHUNK, "[DONE]", CHUNK))
    with client:
        for kind in (errors.Unreachable, errors.OpenLLMError):
            stream = client.chat_stream("hi", model="m")
            assert next(stream).text == "hi"
            with pytest.raises(kind, match=r"broke off|engine failed"):
                next(stream)
        assert list(client.chat_stream("hi", model="m")) == [ChatDelta(text="hi")]


def test_a_chat_is_sent_as_it_was_said() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "reasoning_content": "hm", "tool_calls": [call]}
    answer = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    client, asked = scripted(httpx.Response(200, json=answer), key="secret")
    turns = [Message("user", "hi"), {"role": "assistant", "content": "yes"}]
    with client:
        answered = client.chat(turns, model="m", system="be brief", temperature=0)
    assert (answered.text, answered.reasoning) == ("", "hm")
    assert [(each.name, each.arguments) for each in answered.tool_calls] == [("f", "{}")]
    method, path, body, headers = asked[0]
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["authorization"] == "Bearer secret"
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "yes"},
        ],
        "temperature": 0,
    }


def test_vectors_come_in_the_order_of_their_texts() -> None:
    packed = b64encode(pack("<2f", 1.0, 2.5)).decode()
    data = [{"index": 1, "embedding": [3.0]}, {"index": 0, "embedding": packed}]
    client, _ = scripted(httpx.Response(200, json={"data": data}))
    with client:
        assert client.embed(["a", "b"], model="m") == [[1.0, 2.5], [3.0]]


def test_a_ranking_names_the_documents_by_their_place() -> None:
    results = [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}]
    client, asked = scripted(httpx.Response(200, json={"results": results}))
    with client:
        (best,) = client.rerank("q", ["a", "b"], model="m", top_n=1)
    assert (best.index, best.score, best.document) == (1, 0.9, "b")
    assert asked[0][1:3] == (
        "/v1/rerank",
        {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1},
    )


def test_an_admins_call_names_the_admin_key() -> None:
    client, asked = scripted(refusal(401), httpx.Response(200, json={"data": []}), admin_key="boss")
    with client:
        with pytest.raises(errors.Unauthorized, match="Look at the admin key: admin_key"):
            client.adapters()
        assert client.adapters() == []
    assert asked[0][3]["authorization"] == "Bearer boss"


def test_waiting_ends_when_the_server_is_ready_dead_or_late() -> None:
    loading = httpx.Response(503, json={"status": "loading"})
    client, asked = scripted(
        httpx.ConnectError("refused"), loading, httpx.Response(200, json={"status": "ready"})
    )
    with client:
        client.wait_until_ready(5)
    assert [each[1] for each in asked] == ["/readyz"] * 3
    client, _ = scripted(httpx.Response(503, json={"status": "dead"}))
    with client, pytest.raises(errors.EngineDead):
        client.wait_until_ready(5)
    client, _ = scripted(loading)
    with client, pytest.raises(errors.ServeError, match=r"not ready after 0 s \(loading\)"):
        client.wait_until_ready(0)


def test_a_stream_that_only_trickles_is_late() -> None:
    class Trickle(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                time.sleep(0.01)
                yield b": still here\n\n"

    client, _ = scripted(httpx.Response(200, stream=Trickle()), timeout=0.1)
    with client, pytest.raises(errors.Unreachable, match=r"longer than 0\.1 s"):
        list(client.chat_stream("hi", model="m"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path: Path = write_echo_model(tmp_path_factory.mktemp("client") / "echo-model")
    spec = LLMSpec(model_id=str(path), name="echo", backend="echo")
    settings = Settings(api_key="user", admin_key="admin")
    with serve(LLM.from_spec(spec, path), settings=settings) as running:
        yield running


def test_the_blocking_client_and_ours_understand_each_other(server: Running) -> None:
    with Client(server.url, key="user", admin_key="admin") as client:
        client.wait_until_ready(20)
        assert client.health() is True
        [model] = client.models()
        assert (model.id, model.input_modalities) == ("echo", ("text",))
        assert client.metadata()["model_id"] == "echo"
        assert client.adapters() == []
        whole = client.generate("hello world", max_tokens=4, logprobs=1)
        pieces = list(client.stream("hello world", max_tokens=4))
        assert whole.text == "".join(piece.text for piece in pieces[:-1])
        assert pieces[-1].usage == whole.usage
        assert len(whole.outputs[0].logprobs or ()) == 4
        answer = client.chat("hello world", max_tokens=200)
        deltas = list(client.chat_stream("hello world", max_tokens=200))
        assert "hello world" in answer.text == "".join(delta.text for delta in deltas)
        assert deltas[-1].usage == answer.usage
        with pytest.raises(errors.ModelNotFound):
            client.chat("hi", model="nobody")


async def test_the_asyncio_client_and_ours_understand_each_other(server: Running) -> None:
    async with AsyncClient(f"{server.url}/v1", key="user") as client:
        assert await client.health()
        answers = await asyncio.gather(*[client.generate("hi", max_tokens=3) for _ in range(3)])
        assert len({answer.text for answer in answers}) == 1
        streamed = [delta.text async for delta in client.chat_stream("hello", max_tokens=200)]
        assert "hello" in "".join(streamed)
    async with AsyncClient(server.url, key="wrong") as stranger:
        with pytest.raises(errors.Unauthorized, match="wrong"):
            await stranger.models()


async def test_the_asyncio_client_asks_an_application_without_a_socket(server: Running) -> None:
    transport = httpx.ASGITransport(server.server)
    async with AsyncClient("http://inside", key="user", transport=transport) as client:
        assert [model.id for model in await client.models()] == ["echo"]


def test_a_stream_that_is_left_ends_its_request(server: Running) -> None:
    with Client(server.url, key="user") as client:
        stream = client.stream("hello " * 20, max_tokens=2000, ignore_eos=True)
        next(stream)
        stream.close()
        server.wait_until(lambda: server.llm.stats().running == 0)


def test_the_client_loads_no_engine_and_no_bentoml() -> None:
    heavy = ("torch", "transformers", "bentoml", "vllm", "starlette", "uvicorn")
    code = f"import sys, openllm.client; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
