"""Streams written in the engine's own call: nothing lost, nothing out of order, whoever reads how
fast.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openllm.backends.base import DeltaQueue
from openllm.backends.echo import EchoBackend
from openllm.config.spec import LLMSpec
from openllm.http.app import create_app
from openllm.http.outlet import Outlet, begun
from openllm.llm.llm import LLM
from openllm.types import EngineRequest, Take, TextDelta, TokenDelta
from tests.serving import LONG_WAIT, Running, serve, write_echo_model

TOKENS = 10_000
NAME = "posting"


class PostingBackend(EchoBackend):
    """Posts the prompt's tokens to a queue as engines do, a hundred at a time, faster than anybody
    may read.
    """

    offered = taken = posted = 0

    async def generate(
        self, request: EngineRequest, take: Take | None = None
    ) -> AsyncGenerator[TokenDelta]:
        queue = DeltaQueue(None if take is None else lambda delta: self._offer(take, delta))
        poster = asyncio.create_task(self._post(queue, request))
        try:
            while True:
                delta = await queue.get()
                for index in range(request.params.n):
                    yield msgspec.structs.replace(delta, index=index)
                if delta.finish_reason:
                    return
        finally:
            poster.cancel()

    def _offer(self, take: Take, delta: TokenDelta) -> bool:
        self.offered += 1
        done = take(delta)
        self.taken += done
        return done

    async def _post(self, queue: DeltaQueue, request: EngineRequest) -> None:
        prompt, most = request.prompt_token_ids, request.params.max_tokens or 0
        for at in range(most):
            if at % 100 == 1:  # and the first alone, so that the stream has begun
                await asyncio.sleep(0.001)
            queue.put(
                TokenDelta(
                    [prompt[at % len(prompt)]], finish_reason="length" if at + 1 == most else None
                )
            )
            self.posted = at + 1


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
    backend.offered = backend.taken = backend.posted = 0
    with connect(posting, body, buffer=4096 if slow else 1 << 20) as connection:
        if slow:  # the server is held up: what it has for this client waits, joined
            posting.wait_until(lambda: backend.posted == TOKENS)
            assert backend.offered > backend.taken
        raw = read_all(connection)
    assert b"data: [DONE]" in raw
    found = texts(raw)
    whole = [prompt[at % len(prompt)] for at in range(TOKENS)]
    assert "".join(found) == posting.llm.tokenizer.decode(whole)
    assert backend.taken > 100
    if slow:
        assert len(found) < TOKENS / 2  # the rest was joined


def test_a_client_that_leaves_while_it_holds_up_the_server_frees_the_engine(
    posting: Running,
) -> None:
    backend: Any = posting.llm.backend
    backend.offered = backend.taken = 0
    with connect(posting, {"prompt": "hello", "max_tokens": TOKENS}, buffer=4096):
        posting.wait_until(lambda: backend.taken > 10)
    posting.wait_until(lambda: not posting.server.limits.live)


@pytest.mark.parametrize(
    ("body", "diverted"), [({}, True), ({"stop": ["zebra"]}, False), ({"n": 2}, False)]
)
def test_only_what_the_engine_alone_can_end_is_diverted(
    posting: Running, body: dict[str, Any], diverted: bool
) -> None:
    backend: Any = posting.llm.backend
    backend.taken = 0
    with connect(
        posting, {"prompt": "hello", "max_tokens": 1000, **body}, buffer=1 << 16
    ) as connection:
        found = texts(read_all(connection))
    assert len(found) > 1
    assert (backend.taken > 0) is diverted


async def test_a_send_that_has_to_wait_is_finished_once_there_is_room() -> None:
    room, sent = asyncio.Event(), []

    async def send(message: Any) -> None:
        await room.wait()
        sent.append(message["body"])

    outlet = Outlet(send, lambda delta: None, lambda delta: delta.text.encode())
    outlet.write(TextDelta("a", [1]))
    assert not outlet.open
    settling = asyncio.create_task(outlet.settle())
    await asyncio.sleep(0)
    assert not settling.done()
    room.set()
    await settling
    assert (sent, outlet.open) == ([b"a"], True)
    room.clear()
    outlet.write(TextDelta("x", [1]))
    room.set()
    async with asyncio.timeout(LONG_WAIT):
        while not outlet.open:  # noqa: ASYNC110  nobody settles it, and it goes out all the same
            await asyncio.sleep(0.001)
    assert sent.pop() == b"x"
    outlet.write(TextDelta("b", [2]))
    assert (sent, outlet.open) == ([b"a", b"b"], True)
    outlet.write(TextDelta("", [3]))  # nothing to say yet
    assert sent == [b"a", b"b"]


async def test_a_send_that_fails_later_fails_the_stream() -> None:
    async def send(message: Any) -> None:
        await asyncio.sleep(0.001)
        raise ValueError("the connection is in a wrong state")

    outlet = Outlet(send, lambda delta: None, lambda delta: delta.text.encode())
    outlet.write(TextDelta("a", [1]))
    with pytest.raises(ValueError, match="wrong state"):
        await outlet.settle()
    assert not outlet.open


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
        "tests.serving.create_app", lambda llms, settings: Around(create_app(llms, settings))
    )
    spec, model = posting.llm.spec, Path(posting.llm.spec.model_id)
    backend = PostingBackend(spec, model)
    llm = LLM.from_spec(spec, model, lambda *_: (backend, "for a test"))
    body = {"prompt": "hello", "max_tokens": 1000}
    with serve(llm) as running, connect(running, body, buffer=1 << 16) as connection:
        raw = read_all(connection)
    assert b"data: [DONE]" in raw
    assert len("".join(texts(raw))) > 1000
    assert backend.taken == 0


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
