"""/v1/completions through the official client and in raw bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from tests.protocols.conftest import echo_llm
from tests.protocols.openai.test_chat import events
from tests.serving import serve, write_echo_model

PATH = "/v1/completions"
TEXT = "hello world, how do I build it?"


def test_a_whole_answer_has_openais_shape(official: openai.OpenAI) -> None:
    answer = official.completions.create(model="echo", prompt=TEXT, max_tokens=100)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    [choice] = answer.choices
    assert (choice.index, choice.text, choice.finish_reason, choice.logprobs) == (
        0,
        TEXT,
        "stop",
        None,
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == answer.usage.completion_tokens


def test_the_default_length_is_openais(official: openai.OpenAI) -> None:
    answer = official.completions.create(model="echo", prompt=TEXT * 4)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"


def test_prompts_may_be_texts_ids_or_lists_of_them(official: openai.OpenAI) -> None:
    ids = official.post("/generate", cast_to=object, body={"prompt": TEXT})["prompt_token_ids"]  # type: ignore[index]
    for prompt in (TEXT, [TEXT], ids, [ids]):
        answer = official.completions.create(model="echo", prompt=prompt, max_tokens=100)
        assert answer.choices[0].text == TEXT


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prompts=st.lists(
        st.text(alphabet="ab c\u00fc\U0001f600", min_size=1, max_size=12), min_size=1, max_size=4
    ),
    n=st.integers(1, 3),
    echo=st.booleans(),
)
def test_streamed_and_whole_answers_are_the_same(
    client: httpx.Client, prompts: list[str], n: int, echo: bool
) -> None:
    body = {"prompt": prompts, "n": n, "echo": echo, "max_tokens": 20}
    whole = client.post(PATH, json=body).json()
    streamed = events(
        client.post(
            PATH, json={**body, "stream": True, "stream_options": {"include_usage": True}}
        ).text
    )
    alone = [client.post(PATH, json={**body, "prompt": prompt}).json() for prompt in prompts]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert (
            whole["usage"][name]
            == sum(answer["usage"][name] for answer in alone)
            == streamed[-1]["usage"][name]
        )
    assert [choice["index"] for choice in whole["choices"]] == list(range(n * len(prompts)))
    assert [choice["text"] for choice in whole["choices"]] == [
        choice["text"] for answer in alone for choice in answer["choices"]
    ]
    for choice in whole["choices"]:
        mine = [
            item
            for event in streamed
            for item in event["choices"]
            if item["index"] == choice["index"]
        ]
        assert "".join(item["text"] for item in mine) == choice["text"]
        assert [item["finish_reason"] for item in mine if item["finish_reason"]] == [
            choice["finish_reason"]
        ]


def test_logprobs_are_the_four_lists(official: openai.OpenAI) -> None:
    answer = official.completions.create(model="echo", prompt=TEXT, logprobs=1, max_tokens=6)
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert len(found.tokens) == 6
    assert found.token_logprobs == [0.0] * 6
    assert found.top_logprobs == [{token: 0.0} for token in found.tokens]
    assert found.text_offset is not None
    for token, offset in zip(
        found.tokens[1:], found.text_offset[1:], strict=True
    ):  # the first one marks the beginning
        assert answer.choices[0].text[offset:].startswith(token)


def test_streamed_logprobs_are_the_whole_ones(client: httpx.Client) -> None:
    body: dict[str, Any] = {"prompt": TEXT, "logprobs": 1, "max_tokens": 6}
    whole = client.post(PATH, json=body).json()["choices"][0]["logprobs"]
    chunks = events(client.post(PATH, json={**body, "stream": True}).text)
    parts = [
        choice["logprobs"] for chunk in chunks for choice in chunk["choices"] if choice["logprobs"]
    ]
    assert {key: [item for part in parts for item in part[key]] for key in whole} == whole


def test_a_prompt_can_be_scored_without_an_answer(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "max_tokens": 0, "echo": True, "logprobs": 1}
    answer = client.post(PATH, json=body).json()
    choice = answer["choices"][0]
    assert choice["text"] == TEXT
    assert choice["finish_reason"] == "length"
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert len(choice["logprobs"]["tokens"]) == answer["usage"]["prompt_tokens"]
    assert "".join(choice["logprobs"]["tokens"][1:]) == TEXT
    assert answer["usage"]["completion_tokens"] == 0


def test_echo_with_logprobs_covers_prompt_and_answer(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "max_tokens": 4, "echo": True, "logprobs": 0}
    answer = client.post(PATH, json=body).json()
    lists = answer["choices"][0]["logprobs"]
    assert len(lists["tokens"]) == answer["usage"]["total_tokens"]
    assert lists["top_logprobs"] is None
    assert "prompt_logprobs" not in answer["choices"][0]


def test_prompt_logprobs_are_a_table_per_token(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"prompt": TEXT, "max_tokens": 1, "prompt_logprobs": 1}).json()
    table = answer["choices"][0]["prompt_logprobs"]
    assert table[0] is None
    assert len(table) == answer["usage"]["prompt_tokens"]
    assert all(len(row) == 1 for row in table[1:])


def test_the_stop_string_can_be_kept(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "max_tokens": 100, "stop": "how", "include_stop_str_in_output": True}
    assert client.post(PATH, json=body).json()["choices"][0]["text"] == "hello world, how"


def test_ignore_eos_goes_on_to_the_limit(client: httpx.Client) -> None:
    body = {"prompt": "a", "max_tokens": 12, "ignore_eos": True, "min_tokens": 12}
    assert client.post(PATH, json=body).json()["usage"]["completion_tokens"] == 12


@pytest.mark.parametrize("field", [{"suffix": "x"}, {"max_tokens": 0}])
def test_what_is_not_supported_is_said(client: httpx.Client, field: dict[str, Any]) -> None:
    answer = client.post(PATH, json={"prompt": TEXT, **field})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_feature"
    assert answer.json()["error"]["param"] == next(iter(field))


def test_best_of_shows_the_n_best(client: httpx.Client) -> None:
    body = {"prompt": [TEXT, "hello"], "n": 2, "best_of": 3, "max_tokens": 4}
    answer = client.post(PATH, json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert all(choice["logprobs"] is None for choice in answer["choices"])
    assert answer["usage"]["completion_tokens"] == 2 * 3 * 4  # all that were made


@pytest.mark.parametrize("fields", [{"best_of": 1, "n": 2}, {"best_of": 2, "stream": True}])
def test_best_of_that_cannot_be_is_said(client: httpx.Client, fields: dict[str, Any]) -> None:
    answer = client.post(PATH, json={"prompt": TEXT, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "best_of")


@pytest.mark.parametrize("prompt", [TEXT, [TEXT, "hi"]])
@pytest.mark.parametrize("more", [{}, {"return_token_ids": True}])
def test_echo_with_logprobs_is_streamed(
    client: httpx.Client, prompt: str | list[str], more: dict[str, Any]
) -> None:
    body = {"prompt": prompt, "max_tokens": 4, "echo": True, "logprobs": 1, "n": 2, **more}
    whole = client.post(PATH, json=body).json()["choices"]
    chunks = events(client.post(PATH, json={**body, "stream": True}).text)
    for choice in whole:
        own = [c for chunk in chunks for c in chunk["choices"] if c["index"] == choice["index"]]
        assert "".join(piece["text"] for piece in own) == choice["text"]
        for name, expected in choice["logprobs"].items():
            lists = [piece["logprobs"][name] for piece in own if piece["logprobs"]]
            assert [item for part in lists for item in part] == expected


def test_token_ids_are_shown(client: httpx.Client) -> None:
    body = {"prompt": TEXT, "max_tokens": 4, "return_token_ids": True}
    [choice] = client.post(PATH, json=body).json()["choices"]
    assert choice["prompt_token_ids"][-4:] != choice["token_ids"] == choice["prompt_token_ids"][:4]
    chunks = events(client.post(PATH, json={**body, "stream": True}).text)
    pieces = [piece for chunk in chunks for piece in chunk["choices"]]
    assert pieces[0]["prompt_token_ids"] == choice["prompt_token_ids"]
    assert [t for piece in pieces for t in piece.get("token_ids", [])] == choice["token_ids"]


def test_best_of_that_equals_n_is_fine(client: httpx.Client) -> None:
    assert (
        client.post(PATH, json={"prompt": TEXT, "n": 2, "best_of": 2, "suffix": ""}).status_code
        == 200
    )


def test_the_middle_is_filled_in_where_the_model_has_marks_for_it(tmp_path: Path) -> None:
    model = write_echo_model(tmp_path / "code")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"])
    tokenizer.save_pretrained(model)
    body = {"prompt": "def f(", "suffix": "): pass", "skip_special_tokens": False}
    with serve(echo_llm(model)) as running, running.client() as client:
        answer = client.post(PATH, json=body).json()
        written = "<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>"
        assert answer["choices"][0]["text"].removeprefix("<s>") in written
        for refused in ({"echo": True}, {"prompt": [1, 2]}):
            answer = client.post(PATH, json={**body, **refused}).json()
            assert answer["error"]["param"] == "suffix"
