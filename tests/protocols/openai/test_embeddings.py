"""/v1/embeddings: inputs in every form, numbers or base64, through the official client."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.protocols.openai.embeddings import packed
from tests.bento.models import write_echo_adapter
from tests.protocols.conftest import echo_llm
from tests.sentence import write_modules
from tests.serving import serve, write_echo_model

PATH = "/v1/embeddings"


def test_each_input_has_a_vector_in_its_place(official: openai.OpenAI) -> None:
    texts = ["hello world", "build", "hello world"]
    answer = official.embeddings.create(model="echo", input=texts)
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.data[0].embedding == answer.data[2].embedding != answer.data[1].embedding
    assert answer.model == "echo"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


def test_base64_and_numbers_are_the_same_vector(client: httpx.Client) -> None:
    body = {"input": "hello world"}
    numbers = client.post(PATH, json=body).json()["data"][0]["embedding"]
    packed_form = client.post(PATH, json={**body, "encoding_format": "base64"}).json()["data"][0][
        "embedding"
    ]
    raw = base64.b64decode(packed_form)
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(numbers)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_packing_keeps_32_bit_floats(vector: list[float]) -> None:
    raw = base64.b64decode(packed(vector))
    assert list(struct.unpack(f"<{len(vector)}f", raw)) == vector


def test_dimensions_cut_and_the_length_stays_one(official: openai.OpenAI) -> None:
    vector = official.embeddings.create(
        model="echo", input="hello", dimensions=3, encoding_format="float"
    )
    assert len(vector.data[0].embedding) == 3
    assert sum(value * value for value in vector.data[0].embedding) == pytest.approx(1.0)


def test_token_ids_are_inputs_too(client: httpx.Client) -> None:
    one = client.post(PATH, json={"input": [5, 6, 7]}).json()
    many = client.post(PATH, json={"input": [[5, 6, 7], [8]]}).json()
    assert one["data"][0] == many["data"][0]
    assert len(many["data"]) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [1, True]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": [[-1]]}, "input"),
        ({"input": ["a"] * 1025}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 17}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimension": 3}, "dimension"),
        ({"input": "a " * 600}, "input"),
    ],
)
def test_bad_input_is_named(strict_client: httpx.Client, body: dict[str, Any], param: str) -> None:
    answer = strict_client.post(PATH, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_an_adapter_is_not_silently_left_out(echo_model: Path, tmp_path: Path) -> None:
    adapter = write_echo_adapter(tmp_path / "pirate")
    with (
        serve(echo_llm(echo_model, adapters=[f"{adapter}:pirate"])) as server,
        server.client() as client,
    ):
        assert client.post(PATH, json={"input": "a", "model": "echo"}).status_code == 200
        answer = client.post(PATH, json={"input": "a", "model": "pirate"})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "model"
        assert "Use echo" in answer.json()["error"]["message"]


@pytest.mark.parametrize("fields", [{"truncate": "END"}, {"truncate_prompt_tokens": -1}])
def test_a_long_text_is_cut_for_who_asks(client: httpx.Client, fields: dict[str, Any]) -> None:
    body = {"input": "hello " * 900}
    assert client.post(PATH, json=body).status_code == 400
    answer = client.post(PATH, json={**body, **fields})
    assert answer.status_code == 200
    assert "x-openllm-ignored" not in answer.headers
    assert answer.json()["usage"]["prompt_tokens"] <= 512


def test_vectors_are_left_as_long_as_they_are_for_who_asks(client: httpx.Client) -> None:
    body = {"input": "hello", "normalize": False}
    [found] = client.post(PATH, json=body).json()["data"]
    assert sum(number**2 for number in found["embedding"]) > 1.5


def test_a_prompt_of_the_models_own_stands_before_a_text(tmp_path: Path) -> None:
    """Named by the request, in the words of each protocol; else the default one."""
    settings = {"prompts": {"query": "build ", "document": "serve "}}
    path = write_modules(
        write_echo_model(tmp_path / "echo"),
        ("Pooling", {"pooling_mode": "mean"}),
        settings={**settings, "default_prompt_name": "document"},
        form={},
    )
    with serve(echo_llm(path)) as server, server.client() as client:

        def openai_vector(**body: Any) -> Any:
            found = client.post(PATH, json={"input": "it", **body})
            return found.json()["data"][0]["embedding"]

        plain = client.post(PATH, json={"input": "it", "prompt_name": "web"})
        assert (plain.status_code, plain.json()["error"]["param"]) == (400, "prompt_name")
        query, document = openai_vector(prompt_name="query"), openai_vector()
        assert query != document == openai_vector(prompt_name="document")
        [found] = client.post("/embed", json={"inputs": "it", "prompt_name": "query"}).json()
        assert found == query
        for purpose, vector in (("search_query", query), ("search_document", document)):
            body = {"texts": ["it"], "input_type": purpose}
            found = client.post("/v2/embed", json=body).json()["embeddings"]["float"][0]
            assert found == pytest.approx(vector)
