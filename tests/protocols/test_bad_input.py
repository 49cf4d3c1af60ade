"""Whatever is sent, the answer is a 4xx in OpenAI's shape that names the field, and the server goes
on.
"""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.body.test_fields import JSON

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES: Any = [{"role": "user", "content": "hello"}]
CALL: Any = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BIG = 2**63

# What both protocols share: (fields, the field that is named)
SHARED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": 1.5}, "top_k"),
    ({"top_k": BIG}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": [1]}, "frequency_penalty"),
    ({"seed": 1.0}, "seed"),
    ({"seed": BIG}, "seed"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": True}, "n"),
    ({"n": BIG}, "n"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.0}, "max_tokens"),
    ({"max_tokens": BIG}, "max_tokens"),
    ({"max_tokens": 511}, "max_tokens"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 5, "max_tokens": 4}, "min_tokens"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": {"a": 1}}, "stop"),
    ({"stop": "a\0b"}, "stop"),
    ({"stop": "a" * 2000}, "stop"),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"stop_token_ids": [384]}, "stop_token_ids"),
    ({"stop_token_ids": "1"}, "stop_token_ids"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"100000": 1}}, "logit_bias"),
    ({"logit_bias": {str(at): 1 for at in range(2000)}}, "logit_bias"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"ignore_eos": 1}, "ignore_eos"),
    ({"skip_special_tokens": "no"}, "skip_special_tokens"),
    ({"include_stop_str_in_output": 1}, "include_stop_str_in_output"),
    ({"prompt_logprobs": 21}, "prompt_logprobs"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
    ),
    ({"response_format": {"type": "json_object"}}, "response_format"),  # the echo engine cannot
    ({"structured_outputs": {}}, "structured_outputs"),
    ({"structured_outputs": {"regex": "a", "json": {}}}, "structured_outputs"),
    ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
    ({"structured_outputs": {"json": 1}}, "structured_outputs.json"),
    ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": [""]}}, "structured_outputs.choice"),
    ({"structured_outputs": {"regexp": "a"}}, "structured_outputs.regexp"),
    (
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        "structured_outputs",
    ),
    ({"model": "gpt-4"}, "model"),
    ({"model": 1}, "model"),
    ({"model": "a\0b"}, "model"),
    ({"guided_json": {}}, "guided_json"),
    ({"nonsense": 1}, "nonsense"),
]
CHAT_ONLY: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": ["hello"]}, "messages[0]"),
    ({"messages": [{"content": "a"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a\0"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a", "text": "b"}]}, "messages[0].text"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        {"messages": [{"role": "user", "content": "a", "tool_calls": [CALL]}]},
        "messages[0].tool_calls",
    ),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
    ({"messages": [{"role": "assistant", "content": "a", "audio": {}}]}, "messages[0].audio"),
    ({"messages": [{"role": "user", "content": "a " * 600}]}, "messages"),
    ({"max_completion_tokens": 511}, "max_completion_tokens"),
    ({"continue_final_message": True}, "continue_final_message"),
    ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    ({"chat_template": "x"}, "chat_template"),
    ({"chat_template_kwargs": {"a": [1]}}, "chat_template_kwargs"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 4, "max_tokens": 5}, "max_completion_tokens"),
    ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": {"a": 1}}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "tool_choice"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"functions": [{"name": "a"}]}, "functions"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"reasoning_effort": 1}, "reasoning_effort"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"prompt": "a"}, "prompt"),
]
TEXT_ONLY: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": ["a", ""]}, "prompt"),
    ({"prompt": ["a", [1]], "max_tokens": "a"}, "max_tokens"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": [1.0]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [384]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [BIG]}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": "a\0"}, "prompt"),
    ({"prompt": [1] * 2_200_000}, "prompt"),
    ({"prompt": ["a"] * 1025}, "prompt"),
    ({"prompt": ["a"] * 100, "n": 100}, "n"),
    ({"prompt": "a " * 600}, "prompt"),
    ({"logprobs": True}, "logprobs"),
    ({"logprobs": 21}, "logprobs"),
    ({"echo": 1}, "echo"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
    ({"messages": MESSAGES}, "messages"),
]
CASES = [
    *((CHAT, {"messages": MESSAGES, **fields}, param) for fields, param in [*SHARED, *CHAT_ONLY]),
    *((TEXT, {"prompt": "hello", **fields}, param) for fields, param in [*SHARED, *TEXT_ONLY]),
]


@pytest.mark.parametrize(("path", "body", "param"), CASES, ids=lambda value: str(value)[-48:])
def test_bad_fields_are_named(
    strict_client: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = strict_client.post(path, content=json.dumps(body))
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert "\n" not in error["message"]
    assert len(error["message"]) < 400


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"model=echo",
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"messages": [{"role": "user", "content": "\xff"}]}',
    b'{"temperature": NaN}',
    b'{"temperature": Infinity}',
    b'{"temperature": 1e999}',
    b'{"a":' * 50_000,
    b"[" * 1_000_000,
    b'{"messages":' + b"[" * 500 + b"]" * 500 + b"}",
]


@pytest.mark.parametrize(
    "path", [CHAT, TEXT, "/v1/embeddings", "/v1/generate", "/v1/generate_stream"]
)
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:24]))
def test_bodies_that_are_no_json_object(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "path", ["/v0", "/v1", "/v1/chat/completion/", "/v1/models/", "/../etc/passwd", "/v1//models"]
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PATCH"])
def test_routes_and_methods_that_are_not_there(
    client: httpx.Client, path: str, method: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code in (404, 405)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (answer.status_code == 405)


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH"])
def test_the_root_is_a_page_and_hugging_faces(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/")
    assert answer.status_code == 405
    assert set(answer.json()) == {"error", "error_type"}
    assert "allow" in answer.headers


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from([CHAT, TEXT, "/v1/embeddings", "/v1/generate"]),
    field=st.sampled_from(
        sorted(
            {key for _, body, _ in CASES for key in body}
            | {"input", "dimensions", "llm_config", "adapter_name"}
        )
    ),
    value=JSON,
)
def test_no_value_of_any_field_breaks_the_server(
    client: httpx.Client, strict_client: httpx.Client, path: str, field: str, value: Any
) -> None:
    body = (
        {"messages": MESSAGES}
        if path == CHAT
        else {"input": "a"}
        if "embed" in path
        else {"prompt": "a"}
    )
    for asked in (client, strict_client):
        answer = asked.post(path, json={"max_tokens": 4, **body, field: value})
        assert answer.status_code in (200, 400, 404), answer.text
        if answer.status_code != 200:
            assert answer.json()["error"]["message"]


def test_refusals_are_quick_and_leave_the_loop_free(client: httpx.Client) -> None:
    body = json.dumps(
        {"prompt": ["a"] * 1_000_000, "n": 10**9, "stop": ["b"] * 1_000_000, "logit_bias": {}}
    ).encode()
    begun = time.monotonic()
    assert client.post(TEXT, content=body).status_code == 400
    assert time.monotonic() - begun < 5  # seconds; a fan-out of what was asked would never end
