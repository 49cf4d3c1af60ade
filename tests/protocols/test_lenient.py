"""What clients send beside what is acted on breaks no request, and is named; what would change the
answer is still refused.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "hello world"}]


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post(CHAT, json={"messages": MESSAGES, **fields})


def test_unknown_fields_are_named_in_a_header(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": "hi", "cache_control": {}, "id": "m"}] * 2
    answer = ask(client, messages=messages, nonsense=1, verbosity="high", absent=None)
    assert answer.status_code == 200
    assert answer.headers["x-openllm-ignored"].split(", ") == [
        "messages[].cache_control",
        "messages[].id",
        "verbosity",
        "nonsense",
    ]
    streamed = ask(client, nonsense=1, stream=True)
    assert streamed.headers["x-openllm-ignored"] == "nonsense"


def test_nothing_is_named_where_nothing_was_ignored(client: httpx.Client) -> None:
    assert "x-openllm-ignored" not in ask(client, user="me", temperature=None, made_up=None).headers


def test_a_name_is_logged_once(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            ask(client, logged_only_once=1)
    lines = [line for line in caplog.messages if "logged_only_once" in line]
    assert len(lines) == 1


def test_a_header_holds_whatever_a_name_is(client: httpx.Client) -> None:
    odd = {"a\r\nb: c": 1, "é,": 2, "x" * 9000: 3, **{f"n{at}": at for at in range(100)}}
    answer = ask(client, **odd)
    assert answer.status_code == 200
    names = answer.headers["x-openllm-ignored"].split(", ")
    assert names[0] == "a??b:?c"
    assert names[1] == "??"
    assert names[-1] == "..."
    assert len(answer.headers["x-openllm-ignored"]) < 4096


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(
    "fields",
    [
        {"stop": ""},
        {"stop": ["", "zzz"]},
        {"top_p": 0},
        {"top_p": 0.0},
        {"max_tokens": -1},
        {"max_tokens": 4.0},
        {"seed": 1.0},
        {"top_k": 3.0},
        {"n": 1.0},
        {"max_tokens": 100_000},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
    ],
)
def test_what_clients_mean_by_it_is_done(
    client: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "hello world"}
    answer = client.post(path, json={**prompt, **fields})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_beyond_the_room_is_cut_to_it(client: httpx.Client, name: str) -> None:
    answer = ask(client, **{name: 32_000}, ignore_eos=True).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 512


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_prompt_that_is_too_long_says_so_in_the_words_clients_look_for(
    client: httpx.Client, path: str
) -> None:
    text = "a " * 600
    prompt = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    error = client.post(path, json={**prompt, "max_tokens": 4}).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "this model's maximum context length is 512 tokens" in error["message"]
    assert "prompt is too long" in error["message"]


def test_nul_is_text(client: httpx.Client) -> None:
    answer = ask(client, messages=[{"role": "user", "content": "a\0b"}])
    assert answer.json()["choices"][0]["message"]["content"] == "a\0b"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "a"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"chat_template": "x"}, "chat_template"),
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 4.5}, "max_tokens"),
        ({"top_p": False}, "top_p"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(
    client: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    answer = ask(client, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_operator_can_have_it_strict(strict_client: httpx.Client) -> None:
    for fields in ({"nonsense": 1}, {"max_tokens": 32_000}, {"verbosity": "high"}):
        answer = ask(strict_client, **fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(fields)))
