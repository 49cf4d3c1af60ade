"""openllm's own interface: token ids in and out, adapters by name, what the server is."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import openllm
from tests.protocols.openai.test_chat import events

TEXT = "hello world, how do I build it?"


def test_an_answer_is_a_generation_output(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/generate", json={"prompt": TEXT, "max_tokens": 6, "logprobs": 1}
    ).json()
    [output] = answer["outputs"]
    assert output["token_ids"] == answer["prompt_token_ids"][:6]
    assert output["finish_reason"] == "length"
    assert [entry["token_id"] for entry in output["logprobs"]] == output["token_ids"]
    usage = {
        "prompt_tokens": len(answer["prompt_token_ids"]),
        "completion_tokens": 6,
        "cached_tokens": 0,
    }
    assert answer["usage"] == {**usage, "total_tokens": usage["prompt_tokens"] + 6}


def test_a_stream_has_only_what_is_new_and_ends_with_the_usage(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "max_tokens": 100, "n": 2}
    whole = client.post("/v1/generate", json=body).json()
    *deltas, last = events(client.post("/v1/generate_stream", json=body).text)
    assert last["outputs"] == []
    assert last["usage"] == whole["usage"]
    for output in whole["outputs"]:
        mine = [
            item
            for delta in deltas
            for item in delta["outputs"]
            if item["index"] == output["index"]
        ]
        assert "".join(item["text"] for item in mine) == output["text"]
        assert [token for item in mine for token in item["token_ids"]] == output["token_ids"]
        assert [item["finish_reason"] for item in mine][-1] == output["finish_reason"]


def test_messages_go_through_the_chat_template(client: httpx.Client) -> None:
    messages = [{"role": "user", "content": TEXT}]
    native = client.post("/v1/generate", json={"messages": messages, "max_tokens": 100}).json()
    chat = client.post("/v1/chat/completions", json={"messages": messages}).json()
    assert native["outputs"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert native["usage"]["prompt_tokens"] == chat["usage"]["prompt_tokens"]


def test_the_old_place_and_name_of_the_limit_still_work(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/generate", json={"prompt": TEXT, "llm_config": {"max_new_tokens": 3, "temperature": 0}}
    )
    assert answer.json()["usage"]["completion_tokens"] == 3


def test_metadata_tells_of_the_model_and_nothing_of_the_disk(client: httpx.Client) -> None:
    found = client.get("/v1/metadata").json()
    assert found["openllm_version"] == openllm.__version__
    assert (found["model_id"], found["backend"], found["ready"], found["adapters"]) == (
        "echo",
        "echo",
        True,
        [],
    )
    assert found["models"][0]["max_model_len"] == found["max_model_len"] == 512
    assert "/" not in client.get("/v1/metadata").text


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "prompt"),
        ({"prompt": ["a", "b"]}, 400, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, 400, "prompt"),
        ({"prompt": "a", "adapter_name": "none-such"}, 404, "adapter_name"),
        ({"prompt": "a", "llm_config": {"top": 1}}, 400, "llm_config.top"),
        ({"prompt": "a", "llm_config": {"n": 0}}, 400, "llm_config.n"),
        ({"prompt": "a", "max_tokens": 4, "max_new_tokens": 5}, 400, "max_new_tokens"),
        ({"prompt": "a", "stream": True}, 400, "stream"),
        ({"prompt": "a", "temperature": 3}, 400, "temperature"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/generate", "/v1/generate_stream"])
def test_bad_input_is_named(
    strict_client: httpx.Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answer = strict_client.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
