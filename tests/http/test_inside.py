"""Requests from inside the server's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.http.app import create_app
from openllm.http.inside import Sender, post
from openllm.llm.llm import LLM
from tests.serving import write_echo_model


@pytest.fixture
def llm(tmp_path: Path) -> LLM:
    weights = write_echo_model(tmp_path / "echo-model")
    spec = LLMSpec(model_id=str(weights), backend="echo", engine_args={"delay": 0.01})
    return LLM.from_spec(spec, weights)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  an engine tells by its figures only
            await asyncio.sleep(0.001)


async def test_an_answer_is_whole_and_leaving_frees_the_engine(llm: LLM) -> None:
    server = create_app([llm], Settings())
    await server.start()
    body = {"prompt": "hello world", "max_tokens": 2}
    answer = await post(server, "/v1/completions", json.dumps(body).encode())
    assert (answer.status, answer.headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 2
    answer = await post(server, "/v1/completions", b"[]")
    assert (answer.status, "object" in answer.body.decode()) == (400, True)
    endless = json.dumps({**body, "max_tokens": 400, "ignore_eos": True}).encode()
    task = asyncio.create_task(post(server, "/v1/completions", endless))
    await until(lambda: llm.stats().running == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await until(lambda: llm.stats().running == 0)
    await server.close()


async def test_a_request_is_its_senders_whose_key_is_still_valid(llm: LLM) -> None:
    server = create_app([llm], Settings(api_key="secret", admin_key="more"))
    await server.start()
    body = json.dumps({"prompt": "hello world", "max_tokens": 2}).encode()
    for name, status in (("user", 200), ("admin", 200), ("gone", 401), ("", 401)):
        answer = await post(server, "/v1/completions", body, Sender(name, "its owner"))
        assert answer.status == status
        assert (b"no longer valid" in answer.body) == (status == 401)
    assert (await post(server, "/v1/completions", body)).status == 401
    await server.close()
