"""Cohere's client, as it comes, against the demo; every answer is held to the types that it
declares.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from typing import Any

import pytest

from tests.clients.servers import Writer

cohere = pytest.importorskip("cohere", reason="needs `make test-clients`")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
GREEDY: Any = {"temperature": 0, "max_tokens": 12}
MOOD: Any = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}
CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": CITY},
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def held(value: Any) -> Any:
    """`value`, which the client has built without looking, as its own types have it: no field that
    they do not know, none of another type.
    """
    assert not type(value).model_validate(value.model_dump(by_alias=True)).model_extra
    assert not value.model_extra
    for name in type(value).model_fields:
        inner = getattr(value, name)
        for item in inner if isinstance(inner, list) else [inner]:
            if hasattr(item, "model_extra"):
                held(item)
    return value


def new_client(url: str) -> Any:
    return cohere.ClientV2(api_key="none", base_url=url, client_name="tests", timeout=60)


@pytest.fixture(scope="module")
def client(demo: str) -> Any:
    return new_client(demo)


def text_of(events: list[Any]) -> str:
    deltas = [event for event in events if event.type == "content-delta"]
    return "".join(event.delta.message.content.text or "" for event in deltas)


def test_a_chat_whole_and_streamed(client: Any) -> None:
    whole = held(client.chat(model="demo", messages=ASK, logprobs=True, **GREEDY))
    events = list(map(held, client.chat_stream(model="demo", messages=ASK, **GREEDY)))
    assert whole.message.content[0].text == text_of(events)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message-start", "content-start"]
    assert kinds[-2:] == ["content-end", "message-end"]
    assert set(kinds[2:-2]) == {"content-delta"}
    assert events[0].id == events[-1].id
    for end in (whole, events[-1].delta):
        assert end.finish_reason == "MAX_TOKENS"
        assert end.usage.tokens.output_tokens == 12
        assert end.usage.tokens.input_tokens > 0
    assert len(whole.logprobs) == 12
    assert all(item.logprobs[0] <= 0 for item in whole.logprobs)


def test_logprobs_are_streamed_with_their_text(client: Any) -> None:
    asked: Any = {"model": "demo", "messages": ASK, "logprobs": True, **GREEDY}
    whole = client.chat(**asked).logprobs
    deltas = [e for e in client.chat_stream(**asked) if e.type == "content-delta"]
    items = [delta.logprobs for delta in deltas if delta.logprobs]
    streamed = [number for item in items for number in item.token_ids]
    assert streamed == [number for item in whole for number in item.token_ids]
    assert "".join(item.text for item in items) == "".join(item.text for item in whole)


@pytest.mark.parametrize("form", [{"json_schema": MOOD}, {"schema": MOOD}])
def test_a_schema_is_kept(client: Any, form: Any) -> None:
    asked: Any = {"type": "json_object", **form}
    answer = client.chat(model="demo", messages=ASK, response_format=asked, max_tokens=60)
    assert json.loads(answer.message.content[0].text)["mood"] in ("good", "bad")


def test_a_stop_sequence_and_documents(client: Any) -> None:
    asked: Any = {"model": "demo", "messages": ASK, **GREEDY}
    text = client.chat(**asked).message.content[0].text
    stop = text.split()[2]
    answer = client.chat(**asked, stop_sequences=[stop], k=0, p=0.9, seed=1, safety_mode="OFF")
    assert answer.finish_reason == "STOP_SEQUENCE"
    assert text.startswith(answer.message.content[0].text)
    documents = ["A Bento is a box.", {"id": "d", "data": {"text": "It holds a model.", "page": 3}}]
    told = client.chat(**asked, documents=documents)
    assert told.usage.tokens.input_tokens > answer.usage.tokens.input_tokens


def test_required_tools_are_called_by_the_demo(client: Any) -> None:
    answer = held(
        client.chat(
            model="demo",
            messages=ASK,
            tools=[WEATHER],
            tool_choice="REQUIRED",
            strict_tools=True,
            temperature=0,
            max_tokens=100,
        )
    )
    assert answer.finish_reason == "TOOL_CALL"
    [call] = answer.message.tool_calls
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_told(writer: Writer, stream: bool) -> None:
    client = new_client(writer.url)
    writer.write("<think>I look it up.</think>" + CALL)
    asked: Any = {"model": "scripted", "tools": [WEATHER]}
    if stream:
        plan, calls = streamed_calls(list(client.chat_stream(messages=ASK, **asked)))
    else:
        message = held(client.chat(messages=ASK, **asked)).message
        plan, calls = message.tool_plan, message.tool_calls
    assert plan == "I look it up."
    [call] = calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"city": "Rome"},
    )
    writer.write("<think>Warm.</think>It is.")
    document = {"type": "document", "document": {"data": {"weather": "warm"}, "id": "0"}}
    told = [
        *ASK,
        {"role": "assistant", "tool_plan": plan, "tool_calls": calls},
        {"role": "tool", "tool_call_id": call.id, "content": [document]},
    ]
    thinking = {"type": "enabled", "token_budget": 100}
    answer = held(client.chat(messages=told, thinking=thinking, **asked))
    thought, text = answer.message.content
    assert (thought.thinking, text.text.strip()) == ("Warm.", "It is.")
    assert answer.finish_reason == "COMPLETE"


def streamed_calls(events: list[Any]) -> tuple[str, list[Any]]:
    """The plan, and the calls put together as the vendor's guide does it."""
    plan, calls = "", []
    for event in map(held, events):
        if event.type == "tool-plan-delta":
            plan += event.delta.message.tool_plan
        elif event.type == "tool-call-start":
            assert event.index == len(calls)
            calls.append(event.delta.message.tool_calls)
        elif event.type == "tool-call-delta":
            calls[-1].function.arguments += event.delta.message.tool_calls.function.arguments
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    assert [event.type for event in events].count("tool-call-end") == len(calls)
    return plan, calls


def test_thoughts_are_streamed_as_a_part_of_their_own(writer: Writer) -> None:
    writer.write("<think>Warm.</think>It is.")
    asked: Any = {"model": "scripted", "thinking": {"type": "enabled"}}
    events = list(map(held, new_client(writer.url).chat_stream(messages=ASK, **asked)))
    starts = [event for event in events if event.type == "content-start"]
    kinds = [(event.index, event.delta.message.content.type) for event in starts]
    assert kinds == [(0, "thinking"), (1, "text")]
    thoughts = [event for event in events if event.type == "content-delta" and event.index == 0]
    assert "".join(event.delta.message.content.thinking for event in thoughts) == "Warm."


def test_vectors_in_every_type(client: Any) -> None:
    kinds = ["float", "base64", "int8", "uint8", "binary", "ubinary"]
    texts = ["hello", "world"]
    asked: Any = {"model": "demo", "input_type": "search_query", "output_dimension": 16}
    found = held(client.embed(texts=texts, embedding_types=kinds, **asked)).embeddings
    assert [len(vector) for vector in found.float_] == [16, 16]
    assert math.hypot(*found.float_[0]) == pytest.approx(1)
    floats = struct.unpack("<16f", base64.b64decode(found.base64[0]))
    assert floats == pytest.approx(found.float_[0])
    assert found.int8[0] == [round(value * 127) for value in found.float_[0]]
    assert found.uint8[0] == [value + 128 for value in found.int8[0]]
    bits = "".join(f"{byte:08b}" for byte in found.ubinary[0])
    assert [bit == "1" for bit in bits] == [value > 0 for value in found.float_[0]]
    assert found.binary[0] == [byte - 128 for byte in found.ubinary[0]]
    inputs = [{"content": [{"type": "text", "text": text}]} for text in texts]
    again = client.embed(inputs=inputs, **asked)
    assert again.embeddings.float_ == found.float_
    assert again.meta.billed_units.input_tokens > 0


def test_the_client_of_version_1_has_its_vectors_and_token_ids(demo: str, client: Any) -> None:
    first = cohere.Client(api_key="none", base_url=demo)
    vectors = first.embed(texts=["hello", "world"], model="demo", input_type="clustering")
    assert [math.hypot(*vector) for vector in vectors.embeddings] == pytest.approx([1, 1])
    tokens = client.tokenize(text="A Bento.", model="demo", offline=False)
    assert "".join(tokens.token_strings) == "A Bento."
    assert client.detokenize(tokens=tokens.tokens, model="demo", offline=False).text == "A Bento."


def test_documents_in_order(writer: Writer) -> None:
    documents = ["something else", "build a bento", "numbers and signs"]
    asked: Any = {"model": "reranker", "query": "build a bento", "documents": documents}
    found = held(new_client(writer.url).rerank(**asked, top_n=2, max_tokens_per_doc=100))
    assert found.results[0].index == 1
    scores = [one.relevance_score for one in found.results]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    assert found.meta.billed_units.input_tokens > 0
    earlier = cohere.Client(api_key="none", base_url=writer.url).rerank(**asked, top_n=2)
    assert [one.relevance_score for one in earlier.results] == scores


def test_models(client: Any) -> None:
    [model] = held(client.models.list(endpoint="chat")).models
    assert (model.name, model.endpoints) == ("demo", ["chat", "embed"])
    assert held(client.models.get("demo")).context_length == model.context_length > 0


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(cohere.NotFoundError) as missing:
        client.chat(model="nobody", messages=ASK)
    assert "nobody" in missing.value.body["message"]
    with pytest.raises(cohere.BadRequestError, match=r"\bk\b"):
        list(client.chat_stream(model="demo", messages=ASK, k=-7))
    image = {"type": "image_url", "image_url": {"url": "http://localhost/a.png"}}
    with pytest.raises(cohere.BadRequestError, match=r"messages\[0\]\.content"):
        client.chat(model="demo", messages=[{"role": "user", "content": [image]}])


async def _streamed(url: str) -> str:
    client = cohere.AsyncClientV2(api_key="none", base_url=url)
    events = client.chat_stream(model="demo", messages=ASK, **GREEDY)
    return text_of([event async for event in events])


def test_the_asynchronous_client(demo: str, client: Any) -> None:
    whole = client.chat(model="demo", messages=ASK, **GREEDY)
    assert asyncio.run(_streamed(demo)) == whole.message.content[0].text
