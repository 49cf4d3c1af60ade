"""Streams written in the engine's own call: nothing lost, nothing out of order, whoever reads how
fast.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from openllm.backends.echo.backend import EchoBackend
from openllm.config.spec import LLMSpec
from openllm.http import stream
from openllm.http.app import create_app
from openllm.http.stream import Stream, begun
from openllm.llm.llm import LLM
from openllm.types import AnswerDelta, Sink, TokenDelta, TokenRequest
from openllm.types import Running as RunningRequest
from tests.serving import LONG_WAIT, Running, serve, write_echo_model

TOKENS = 10_000
NAME = "posting"


class PostingBackend(EchoBackend):
    """Puts the prompt's tokens as engines do, a hundred at a time, faster than anybody may read."""

    posted = 0

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> RunningRequest:
        return Posting(asyncio.create_task(self._post(request, sink)))

    async def _post(self, request: TokenRequest, sink: Sink[TokenDelta]) -> None:
        prompt, most = request.prompt_token_ids, request.params.max_tokens or 0
        for at in range(most):
            if at % 100 == 1:  # and the first alone, so that the stream has begun
                await asyncio.sleep(0.001)
            end = "length" if at + 1 == most else None
            for index in range(request.params.n):
                sink.put(TokenDelta([prompt[at % len(prompt)]], index, end))
            self.posted = at + 1


class Posting:
    """One request of it."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task

    def cancel(self) -> None:
        self.task.cancel()

    def stop(self, index: int) -> None:
        """It runs out."""


class Calls:
    """Counts the frames that are sent in the engine's own call, without a task of the request's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.straight = self.by_task = 0
        begin, write = stream.begun, stream.Stream._write

        def begun_and_counted(coroutine: Any) -> Any:
            self.straight += 1
            return begin(coroutine)

        async def written_and_counted(one: stream.Stream) -> None:
            self.by_task += len(one._frames)
            await write(one)

        monkeypatch.setattr(stream, "begun", begun_and_counted)
        monkeypatch.setattr(stream.Stream, "_write", written_and_counted)


@pytest.fixture(scope="module")
def posting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = write_echo_model(tmp_path_factory.mktemp("posting"), max_position_embeddings=2 * TOKENS)
    spec = LLMSpec(model_id=str(model), name=NAME, backend="echo")
    engine = PostingBackend(spec, model)
    with serve(
        LLM.from_spec(spec, model, lambda *_: (engine, "for a test")), send_buffer=1 << 16
    ) as found:
        yield found


def connect(running: Running, body: dict[str, Any], buffer: int) -> socket.socket:
    payload = json.dumps({"model": NAME, "stream": True, **body}).encode()
    host, port = running.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(LONG_WAIT)
    connection.connect((host, int(port)))
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:"
        f" {len(payload)}\r\n\r\n"
    )
    connection.sendall(head.encode() + payload)
    return connection


def texts(raw: bytes) -> list[str]:
    """The texts of the events, in their order."""
    lines = [
        line
        for line in raw.decode().replace("\r\n", "\n").split("\n")
        if line.startswith("data: {")
    ]
    return [choice["text"] for line in lines for choice in json.loads(line[6:])["choices"]]


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("slow", [False, True])
def test_all_tokens_arrive_in_order_however_slowly_they_are_read(
    posting: Running, slow: bool
) -> None:
    prompt = posting.llm.tokenizer.encode(
        "The quick brown fox jumps over the lazy dog. ", add_special_tokens=False
    )
    body = {"prompt": prompt, "max_tokens": TOKENS}
    backend: Any = posting.llm.backend
    backend.posted = 0
    with connect(posting, body, buffer=4096 if slow else 1 << 20) as connection:
        if slow:  # the server is held up: what it has for this client waits, joined
            posting.wait_until(lambda: backend.posted == TOKENS)
        raw = read_all(connection)
    assert b"data: [DONE]" in raw
    whole = [prompt[at % len(prompt)] for at in range(TOKENS)]
    assert "".join(texts(raw)) == posting.llm.tokenizer.decode(whole)


def test_a_client_that_leaves_while_it_holds_up_the_server_frees_the_engine(
    posting: Running,
) -> None:
    backend: Any = posting.llm.backend
    backend.posted = 0
    with connect(posting, {"prompt": "hello", "max_tokens": TOKENS}, buffer=4096):
        posting.wait_until(lambda: backend.posted > 10)
    posting.wait_until(lambda: not posting.server.limits.live)


@pytest.mark.parametrize("body", [{}, {"stop": ["zebra"]}, {"n": 2}, {"logprobs": 1}])
def test_every_kind_of_stream_goes_the_short_way(
    posting: Running, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    asked = {"prompt": "hello", "max_tokens": 1000, **body}
    with connect(posting, asked, buffer=1 << 20) as connection:
        found = texts(read_all(connection))
    assert len(found) > 100
    assert calls.straight > 100
    assert calls.by_task < calls.straight / 10


def test_several_prompts_go_the_short_way_too(
    posting: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    asked = {"prompt": ["hello", "world"], "max_tokens": 1000, "n": 2}
    with connect(posting, asked, buffer=1 << 20) as connection:
        raw = read_all(connection).decode()
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    by_choice: dict[int, str] = {}
    for choice in (choice for event in events for choice in event["choices"]):
        by_choice[choice["index"]] = by_choice.get(choice["index"], "") + choice["text"]
    assert sorted(by_choice) == [0, 1, 2, 3]
    assert by_choice[0] == by_choice[1] != by_choice[2] == by_choice[3]
    assert calls.straight > 100


class Slow:
    """A server whose `send` waits for `room`, and fails where it is told to."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.sent: list[bytes] = []
        self.wrong = ""

    async def send(self, message: Any) -> None:
        await self.room.wait()
        if self.wrong:
            raise ValueError(self.wrong)
        self.sent.append(message.get("body", b""))


class Words:
    """Writes texts as they are."""

    def opening(self) -> bytes:
        return b"<"

    def delta(self, delta: AnswerDelta) -> bytes:
        if delta.text == "bad":
            raise ValueError("not this word")
        return delta.text.encode()


async def begin(server: Slow, monkeypatch: pytest.MonkeyPatch) -> tuple[Stream, asyncio.Task[None]]:
    """A stream of two choices whose request waits for what comes."""
    monkeypatch.setattr(stream, "direct", lambda send: True)
    exchange, meter = mock.Mock(send=server.send), mock.Mock()
    exchange.begin_stream = mock.AsyncMock()
    exchange.settings.sse_keepalive = 0
    found = Stream(exchange, Words(), meter, choices=2)
    task = asyncio.create_task(found.run())
    await asyncio.sleep(0)
    return found, task


async def test_what_is_held_up_waits_and_goes_out_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Slow()
    found, task = await begin(server, monkeypatch)
    for text in "abc":
        found.put(AnswerDelta(text, [1]))
    server.room.set()
    async with asyncio.timeout(LONG_WAIT):
        while server.sent != [b"<a", b"bc"]:  # noqa: ASYNC110  a list has no event
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    found.put(AnswerDelta("d", [1]))
    assert server.sent[-1] == b"d"  # in this very call
    found.put(AnswerDelta("", [1]))  # nothing to say yet
    found.put(AnswerDelta("e", [1], finish_reason="stop"))
    found.put(AnswerDelta("f", [1], 1, "stop"))
    await task
    assert b"".join(server.sent) == b"<abcdef"


@pytest.mark.parametrize("late", [False, True])
async def test_a_send_that_fails_fails_the_stream(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Slow()
    found, task = await begin(server, monkeypatch)
    server.wrong = "the connection is in a wrong state"
    if not late:
        server.room.set()
    found.put(AnswerDelta("a", [1]))
    server.room.set()
    with pytest.raises(ValueError, match="wrong state"):
        await task
    found.put(AnswerDelta("b", [1]))  # the engine is none the worse for it


async def test_a_word_that_cannot_be_written_fails_the_stream_after_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Slow()
    found, task = await begin(server, monkeypatch)
    found.put(AnswerDelta("a", [1]))
    found.put(AnswerDelta("bad", [1]))
    found.put(AnswerDelta("c", [1]))
    server.room.set()
    with pytest.raises(ValueError, match="not this word"):
        await task
    assert server.sent == [b"<a"]


class Around:
    """What a middleware does: its own `send`, which needs the request's task."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        task = asyncio.current_task()

        async def checked(message: Any) -> None:
            assert asyncio.current_task() is not None
            if scope["type"] == "http" and message.get("body"):
                async with asyncio.timeout(LONG_WAIT):
                    await send(message)
            else:
                await send(message)

        assert task is not None
        await self.app(scope, receive, checked)


def test_a_middleware_gets_all_of_a_stream_in_a_task(
    posting: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.serving.create_app",
        lambda llms, settings, tracing: Around(create_app(llms, settings, tracing)),
    )
    calls = Calls(monkeypatch)
    spec, model = posting.llm.spec, Path(posting.llm.spec.model_id)
    backend = PostingBackend(spec, model)
    llm = LLM.from_spec(spec, model, lambda *_: (backend, "for a test"))
    body = {"prompt": "hello", "max_tokens": 1000}
    with serve(llm) as running, connect(running, body, buffer=1 << 16) as connection:
        raw = read_all(connection)
    assert b"data: [DONE]" in raw
    assert len("".join(texts(raw))) > 1000
    assert calls.straight == 0


async def test_a_wait_that_is_cancelled_lets_the_coroutine_clean_up() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    rest = begun(work())
    assert rest is not None

    async def wait() -> None:
        await rest

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cleaned up"]


async def test_what_a_coroutine_raises_is_raised_where_it_is() -> None:
    async def work(wait: bool) -> None:
        if wait:
            await asyncio.sleep(0.001)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        begun(work(wait=False))
    rest = begun(work(wait=True))
    assert rest is not None
    with pytest.raises(ValueError, match="no"):
        await rest
