"""Ollama's client, as it comes, against the demo; it parses every answer into its own types."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.clients.servers import Writer

ollama = pytest.importorskip("ollama", reason="needs `make test-clients`")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
GREEDY: Any = {"temperature": 0, "num_predict": 12}
MOOD: Any = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def weather(city: str) -> str:
    """The weather of a city.

    Args:
      city: its name
    """
    return f"It is warm in {city}."


@pytest.fixture(scope="module")
def client(demo: str) -> Any:
    return ollama.Client(host=demo, timeout=60)


def test_a_chat_whole_and_streamed(client: Any) -> None:
    asked: Any = {"model": "demo", "messages": ASK, "options": GREEDY}
    whole = client.chat(**asked, logprobs=True, top_logprobs=2)
    parts = list(client.chat(**asked, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    for last in (whole, parts[-1]):
        assert (last.done_reason, last.eval_count) == ("length", 12)
        assert last.total_duration >= last.eval_duration > 0
    assert len(whole.logprobs) == 12
    assert all(len(entry.top_logprobs) == 2 for entry in whole.logprobs)


def test_generate_whole_and_streamed(client: Any) -> None:
    asked: Any = {"model": "demo:latest", "prompt": "A Bento is", "options": GREEDY, "raw": True}
    whole = client.generate(**asked)
    assert "".join(part.response for part in client.generate(**asked, stream=True)) == (
        whole.response
    )
    assert whole.model == "demo:latest"
    assert client.generate("demo").done_reason == "load"


def test_a_format_is_kept(client: Any) -> None:
    answer = client.chat("demo", ASK, format=MOOD, options={"num_predict": 60})
    assert json.loads(answer.message.content)["mood"] in ("good", "bad")


def test_vectors(client: Any) -> None:
    answer = client.embed("demo", ["hello", "world"], dimensions=8)
    assert [len(vector) for vector in answer.embeddings] == [8, 8]
    assert math.hypot(*answer.embeddings[0]) == pytest.approx(1)
    assert len(client.embeddings("demo", "hello").embedding) > 8


def test_models(client: Any) -> None:
    assert [model.model for model in client.list().models] == ["demo:latest"]
    assert client.ps().models[0].context_length > 0
    shown = client.show("demo")
    assert shown.capabilities == ["completion", "tools"]
    family = shown.modelinfo["general.architecture"]
    assert shown.modelinfo[f"{family}.context_length"] == client.ps().models[0].context_length


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat("nobody", ASK)
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match=r"options\.temperature"):
        list(client.chat("demo", ASK, options={"temperature": -1}, stream=True))
    refused = (
        lambda: client.pull("llama3.2"),
        lambda: list(client.pull("llama3.2", stream=True)),
        lambda: client.push("demo"),
        lambda: client.create("mine", from_="demo"),
        lambda: client.copy("demo", "mine"),
        lambda: client.delete("demo"),
    )
    for call in refused:
        with pytest.raises(ollama.ResponseError, match="here: this server has those"):
            call()


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_told(writer: Writer, stream: bool) -> None:
    writer.write('<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>')
    client = ollama.Client(host=writer.url, timeout=60)
    asked: Any = {"model": "scripted", "tools": [weather], "stream": stream}
    found = client.chat(messages=ASK, **asked)
    messages = [part.message for part in found] if stream else [found.message]
    [calling] = [message for message in messages if message.tool_calls]
    [call] = calling.tool_calls
    assert call.function.name == "weather"
    result = weather(**call.function.arguments)
    assert result == "It is warm in Rome."
    writer.write("<think>Warm.</think>It is.")
    told = [*ASK, calling, {"role": "tool", "tool_name": "weather", "content": result}]
    answer = client.chat(messages=told, model="scripted", tools=[weather], think=True).message
    assert (answer.thinking, answer.content.strip()) == ("Warm.", "It is.")


async def _streamed(url: str) -> str:
    client = ollama.AsyncClient(host=url, timeout=60)
    parts = await client.chat("demo", ASK, stream=True, options=GREEDY)
    return "".join([part.message.content async for part in parts])


def test_the_asynchronous_client(demo: str, client: Any) -> None:
    import asyncio

    whole = client.chat("demo", ASK, options=GREEDY)
    assert asyncio.run(_streamed(demo)) == whole.message.content
