"""/v1/chat/completions through the official client and in raw bytes."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import Running

PATH = "/v1/chat/completions"
MESSAGES: Any = [{"role": "user", "content": "hello world, how do I build it?"}]
# the echo engine gives the whole rendered prompt; special tokens are left out
ANSWER = "hello world, how do I build it?"


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream; it must end with [DONE]."""
    lines = text.split("\n\n")
    assert lines[-1] == ""
    assert lines[-2] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines[:-1])
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_a_whole_answer_has_openais_shape(official: openai.OpenAI) -> None:
    before = int(time.time())
    answer = official.chat.completions.create(model="echo", messages=MESSAGES)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert before - 1 <= answer.created <= time.time()
    assert answer.model == "echo"
    assert answer.system_fingerprint is not None
    [choice] = answer.choices
    assert choice.index == 0
    assert choice.message.role == "assistant"
    assert choice.message.content == ANSWER
    assert choice.message.refusal is None
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_begins_with_the_role_and_ends_with_a_reason(official: openai.OpenAI) -> None:
    chunks = list(official.chat.completions.create(model="echo", messages=MESSAGES, stream=True))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert all(chunk.object == "chat.completion.chunk" and chunk.usage is None for chunk in chunks)
    first, last = chunks[0].choices[0], chunks[-1].choices[0]
    assert (first.delta.role, first.delta.content, first.finish_reason) == ("assistant", "", None)
    assert (last.delta.content, last.finish_reason) == (None, "stop")
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER


def test_usage_comes_last_and_without_choices(official: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(
        official.chat.completions.create(
            model="echo", messages=MESSAGES, stream=True, stream_options=options
        )
    )
    whole = official.chat.completions.create(model="echo", messages=MESSAGES)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_without_include_usage_no_chunk_mentions_it(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"messages": MESSAGES, "stream": True})
    assert all("usage" not in event for event in events(answer.text))


def test_the_headers_of_a_stream(client: httpx.Client) -> None:
    answer = client.post(
        PATH, json={"messages": MESSAGES, "stream": True}, headers={"x-request-id": "mine-1"}
    )
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"] == "mine-1"


def test_curl_without_a_content_type_header_works(client: httpx.Client) -> None:
    body = json.dumps({"model": "echo", "messages": MESSAGES, "max_tokens": 4})
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post(PATH, content=body, headers=form).json()["usage"]["completion_tokens"] == 4


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    n=st.integers(1, 4),
    limit=st.integers(1, 30),
    text=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30
    ),
)
def test_streamed_and_whole_answers_are_the_same(
    client: httpx.Client, n: int, limit: int, text: str
) -> None:
    body = {"messages": [{"role": "user", "content": text}], "n": n, "max_tokens": limit}
    whole = client.post(PATH, json=body).json()
    streamed = events(
        client.post(
            PATH, json={**body, "stream": True, "stream_options": {"include_usage": True}}
        ).text
    )
    assert len(whole["choices"]) == n
    assert streamed[-1]["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] <= n * limit
    for choice in whole["choices"]:
        mine = [
            item
            for event in streamed
            for item in event["choices"]
            if item["index"] == choice["index"]
        ]
        assert (
            "".join(item["delta"].get("content") or "" for item in mine)
            == choice["message"]["content"]
        )
        assert [item["finish_reason"] for item in mine if item["finish_reason"]] == [
            choice["finish_reason"]
        ]
        assert mine[-1]["finish_reason"] is not None


def test_the_prompt_counts_once_whatever_n_is(official: openai.OpenAI) -> None:
    one = official.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=4)
    four = official.chat.completions.create(model="echo", messages=MESSAGES, max_tokens=4, n=4)
    assert one.usage is not None
    assert four.usage is not None
    assert four.usage.prompt_tokens == one.usage.prompt_tokens
    assert four.usage.completion_tokens == 4 * one.usage.completion_tokens


@pytest.mark.parametrize("stop", ["how", ["zzz", "how"]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_is_cut_off_and_named(client: httpx.Client, stop: Any, stream: bool) -> None:
    answer = client.post(PATH, json={"messages": MESSAGES, "stop": stop, "stream": stream})
    if stream:
        choices = [choice for event in events(answer.text) for choice in event["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        last = choices[-1]
    else:
        last = answer.json()["choices"][0]
        text = last["message"]["content"]
    assert text == "hello world, "
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", "how")


def test_logprobs_cover_the_tokens_of_the_answer(official: openai.OpenAI) -> None:
    answer = official.chat.completions.create(
        model="echo", messages=MESSAGES, logprobs=True, top_logprobs=1, max_tokens=6
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 6
    for entry in logprobs.content:
        assert bytes(entry.bytes or []).decode() == entry.token
        assert [top.token for top in entry.top_logprobs] == [entry.token]
    chunks = official.chat.completions.create(
        model="echo", messages=MESSAGES, logprobs=True, top_logprobs=1, max_tokens=6, stream=True
    )
    streamed = [chunk.choices[0].logprobs for chunk in chunks]
    assert [entry for item in streamed if item for entry in item.content or []] == logprobs.content


def test_text_parts_are_joined(official: openai.OpenAI) -> None:
    parts: Any = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "world"}],
        }
    ]
    answer = official.chat.completions.create(model="echo", messages=parts)
    assert answer.choices[0].message.content == "hello\nworld"


def test_a_whole_conversation_with_every_role_is_taken(running: Running) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages = [
        {"role": "developer", "content": "short"},
        {"role": "user", "content": "hello", "name": "me"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call],
            "refusal": None,
            "annotations": [],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "world"},
    ]
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    body = {
        "messages": messages,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    with running.client() as client:
        assert client.post(PATH, json=body).status_code == 200


def test_a_final_assistant_message_can_be_continued(client: httpx.Client) -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "hello"}]
    body = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    text = client.post(PATH, json=body).json()["choices"][0]["message"]["content"]
    assert text == ANSWER + "hello"


def test_fields_that_change_nothing_are_accepted(client: httpx.Client) -> None:
    harmless = {
        "user": "me",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "modalities": ["text"],
        "reasoning_effort": None,
        "response_format": {"type": "text"},
        "tool_choice": "none",
        "function_call": "none",
        "logit_bias": {},
        "stop": None,
        "max_completion_tokens": 3,
    }
    assert client.post(PATH, json={"messages": MESSAGES, **harmless}).status_code == 200
