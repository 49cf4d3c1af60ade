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


EARLIER = {"x-openllm-client-package-version": "0.5.7"}
# A part of what that client sends of a configuration that nobody has touched.
UNTOUCHED = {"num_beams": 1, "use_beam_search": False, "length_penalty": 1.0, "typical_p": 1.0}


def test_an_earlier_client_gets_what_it_reads(strict_client: httpx.Client) -> None:
    """Every field of PyPI's openllm-client 0.5.7; the client itself is tried in tests/clients."""
    body = {"prompt": TEXT, "llm_config": {"max_tokens": 6, **UNTOUCHED}, "adapter_name": None}
    native = strict_client.post("/v1/generate", json=body).json()
    answer = strict_client.post("/v1/generate", json=body, headers=EARLIER).json()
    [output], [expected] = answer["outputs"], native["outputs"]
    assert (answer["prompt"], answer["finished"]) == (TEXT, True)
    assert (output["text"], output["logprobs"]) == (expected["text"], None)
    assert isinstance(output["cumulative_logprob"], float)
    *pieces, last = events(
        strict_client.post("/v1/generate_stream", json=body, headers=EARLIER).text
    )
    outputs = [piece["outputs"][0] for piece in (*pieces, last)]
    assert "".join(item["text"] for item in outputs) == output["text"]
    assert all(item["token_ids"] for item in outputs)
    assert [piece["finished"] for piece in pieces] == [False] * len(pieces)
    assert (last["finished"], outputs[-1]["finish_reason"]) == (True, "length")
    asked = {**body, "logprobs": 1}
    [shown] = strict_client.post("/v1/generate", json=asked, headers=EARLIER).json()["outputs"]
    tables = [next(iter(table)) for table in shown["logprobs"]]
    assert tables == [str(token) for token in shown["token_ids"]]


def test_what_an_earlier_client_has_set_and_nobody_does_is_refused(
    strict_client: httpx.Client,
) -> None:
    body = {"prompt": TEXT, "llm_config": {"num_beams": 4}}
    answer = strict_client.post("/v1/generate", json=body, headers=EARLIER)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "llm_config.num_beams"


def test_an_earlier_client_asks_for_the_metadata_by_post(client: httpx.Client) -> None:
    found = client.post("/v1/metadata", json={}).json()
    assert (found["model_id"], found["model_name"]) == ("echo", "llama")
    assert (found["serialisation"], found["quantise"], found["trust_remote_code"]) == (
        "safetensors",
        None,
        False,
    )
    assert found["timeout"] > 0
    assert found["configuration"]["max_tokens"] == 512
    assert found["configuration"]["temperature"] <= 1.0
    assert client.post("/v1/metadata", json=[]).status_code == 400


def test_messages_are_rendered_as_text(client: httpx.Client) -> None:
    turns = {"messages": [{"role": "user", "content": TEXT}]}
    plain = client.post("/v1/helpers/messages", json=turns)
    prompted = client.post("/v1/helpers/messages", json={**turns, "add_generation_prompt": True})
    assert plain.headers["content-type"].startswith("text/plain")
    assert TEXT in plain.text
    assert prompted.text.startswith(plain.text)
    assert len(prompted.text) > len(plain.text)
    assert client.post("/v1/helpers/messages", json={}).json()["error"]["param"] == "messages"


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
