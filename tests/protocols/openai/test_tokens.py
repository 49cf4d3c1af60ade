"""/tokenize and /detokenize, in vLLM's shapes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

MESSAGES: Any = [{"role": "user", "content": "hello"}]


def test_a_text_and_back(client: httpx.Client) -> None:
    found = client.post("/tokenize", json={"model": "echo", "prompt": "hello world"}).json()
    assert found["count"] == len(found["tokens"]) > 1
    assert (found["max_model_len"], found["token_strs"]) == (512, None)
    bare = {"prompt": "hello world", "add_special_tokens": False, "return_token_strs": True}
    plain = client.post("/tokenize", json=bare).json()
    assert found["tokens"][1:] == plain["tokens"]  # the first begins the text
    assert "".join(plain["token_strs"]) == "hello world"
    back = client.post("/detokenize", json={"tokens": plain["tokens"]}).json()
    assert back == {"prompt": "hello world"}


def test_a_conversation_is_what_chat_makes_of_it(client: httpx.Client) -> None:
    found = client.post("/tokenize", json={"messages": MESSAGES}).json()
    body = {"messages": MESSAGES, "return_token_ids": True}
    answer = client.post("/v1/chat/completions", json=body).json()
    assert found["tokens"] == answer["prompt_token_ids"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"prompt": [1, 2]}, "prompt"),
        ("/tokenize", {"prompt": "a", "model": "other"}, "model"),
        ("/detokenize", {}, "tokens"),
        ("/detokenize", {"tokens": [2**40]}, "tokens"),
        ("/detokenize", {"tokens": ["a"]}, "tokens"),
    ],
)
def test_what_cannot_be_is_said(
    client: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param
