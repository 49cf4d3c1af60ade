"""What clients send beside what is acted on breaks no request, and is named; what would change the
answer is still refused.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx
import openai
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
        {"stop_token_ids": [300.0], "logit_bias": {"5": None}},
        {"allowed_token_ids": [], "bad_words": []},
        {"model": ""},
        {"use_beam_search": False, "length_penalty": 1.0, "early_stopping": False},
        {"modalities": ["text"], "audio": None, "include_reasoning": True},
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
    assert error["message"].startswith("This model's maximum context length is 512 tokens")
    assert "prompt is too long" in error["message"]


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_the_prompt_is_cut_to_its_end(client: httpx.Client, path: str) -> None:
    def ids(**fields: Any) -> list[int]:
        text = "hello world, how do I build it? " * 30
        body = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {}
        body |= {"prompt": text} if path == TEXT else {}
        answer = client.post(path, json={**body, **fields, "return_token_ids": True}).json()
        found: list[int] = (
            answer.get("prompt_token_ids") or answer["choices"][0]["prompt_token_ids"]
        )
        return found

    most = ids(truncate_prompt_tokens=-1, max_tokens=12)
    assert len(most) == 500
    assert ids(truncate_prompt_tokens=5, max_tokens=12) == most[-5:]


def test_a_text_of_any_length_is_cut(client: httpx.Client) -> None:
    body = {"prompt": "a " * 100_000, "truncate_prompt_tokens": 4, "return_token_ids": True}
    [choice] = client.post(TEXT, json=body).json()["choices"]
    assert len(choice["prompt_token_ids"]) == 4


def test_usage_so_far_comes_with_every_chunk(official: openai.OpenAI) -> None:
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    chunks = [
        *official.chat.completions.create(
            model="echo", messages=MESSAGES, max_tokens=4, stream=True, stream_options=options
        ),
        *official.completions.create(
            model="echo", prompt="hello world", max_tokens=4, stream=True, stream_options=options
        ),
    ]
    assert all(chunk.usage is not None and chunk.usage.prompt_tokens > 0 for chunk in chunks)
    counts = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage is not None]
    assert set(counts) >= {1, 2, 3, 4}


def test_token_ids_are_shown_beside_the_text(official: openai.OpenAI) -> None:
    def ask(**options: Any) -> Any:
        return official.chat.completions.create(
            model="echo",
            messages=MESSAGES,
            max_tokens=4,
            extra_body={"return_token_ids": True},
            **options,
        )

    whole = ask().model_dump()
    chunks = [chunk.model_dump() for chunk in ask(stream=True)]
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    pieces = [choice.get("token_ids") or [] for chunk in chunks for choice in chunk["choices"]]
    assert (
        [token for piece in pieces for token in piece]
        == whole["choices"][0]["token_ids"]
        == whole["prompt_token_ids"][:4]
    )


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_request_has_the_id_that_it_says(client: httpx.Client, path: str) -> None:
    prompt = {"messages": MESSAGES} if path == CHAT else {"prompt": "hello"}
    answer = client.post(path, json={**prompt, "request_id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.json()["id"].endswith("cmpl-mine-1")
    odd = client.post(path, json={**prompt, "request_id": "a b"})
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "request_id")


def test_documents_are_told_where_the_template_shows_none(client: httpx.Client) -> None:
    answer = ask(client, documents=[{"title": "Bento", "text": "A box."}, "plain"])
    assert "x-openllm-ignored" not in answer.headers
    text = answer.json()["choices"][0]["message"]["content"]
    assert '{"title": "Bento", "text": "A box."}\n{"text": "plain"}' in text


def test_a_priority_is_named_where_the_engine_has_none(
    client: httpx.Client, strict_client: httpx.Client
) -> None:
    assert ask(client, priority=3).headers["x-openllm-ignored"] == "priority"
    assert "x-openllm-ignored" not in ask(client, priority=0, cache_salt="mine").headers
    refused = ask(strict_client, priority=3)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")


@pytest.mark.parametrize("body", [b'"a\\ud83d b"', b'"a\\udc00"'])
def test_half_a_surrogate_is_said(client: httpx.Client, body: bytes) -> None:
    answer = client.post(TEXT, content=b'{"prompt":' + body + b"}")
    assert answer.status_code == 400
    assert "half a surrogate pair" in answer.json()["error"]["message"]


def test_a_byte_order_mark_is_no_text(client: httpx.Client) -> None:
    assert client.post(TEXT, content=b'\xef\xbb\xbf{"prompt": "a"}').status_code == 200


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
        ({"guided_choice": ["a"]}, "guided_choice"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs"),
        ({"allowed_token_ids": [5]}, "allowed_token_ids"),
        ({"bad_words": ["hello"]}, "bad_words"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"chat_template": "x"}, "chat_template"),
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 4.5}, "max_tokens"),
        ({"top_p": False}, "top_p"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].image_url",
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
