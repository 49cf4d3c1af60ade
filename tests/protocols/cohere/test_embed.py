"""/v2/embed and /v1/embed, /v1/tokenize and /v1/detokenize, and the models as Cohere's clients see
them.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import httpx
import pytest

PATH = "/v2/embed"
THEIRS = {"user-agent": "cohere/7.3.1"}


def embed(client: httpx.Client, path: str = PATH, **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, path: str = PATH, **body: Any) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["message"])


def test_vectors_of_length_1(client: httpx.Client) -> None:
    found = embed(client, model="echo", texts=["hello", "world"])
    assert found["response_type"] == "embeddings_by_type"
    assert found["texts"] == ["hello", "world"]
    first, second = found["embeddings"]["float"]
    assert math.hypot(*first) == pytest.approx(1)
    assert first != second
    assert found["meta"]["billed_units"]["input_tokens"] > 0
    parts = [{"type": "text", "text": text} for text in ("hello", "world")]
    joined = embed(client, inputs=[{"content": parts}])["embeddings"]["float"]
    assert joined == embed(client, texts=["hello\nworld"])["embeddings"]["float"]


def test_every_type_is_of_the_same_vector(client: httpx.Client) -> None:
    kinds = ["ubinary", "float", "base64", "int8", "uint8", "binary"]
    found = embed(client, texts=["hello"], embedding_types=kinds, output_dimension=3)["embeddings"]
    assert list(found) == kinds
    [vector] = found["float"]
    assert struct.unpack("<3f", base64.b64decode(found["base64"][0])) == pytest.approx(vector)
    assert found["int8"] == [[round(value * 127) for value in vector]]
    assert found["uint8"] == [[value + 128 for value in found["int8"][0]]]
    [[byte]] = found["ubinary"]
    assert f"{byte:08b}" == "".join("1" if value > 0 else "0" for value in vector) + "00000"
    assert found["binary"] == [[byte - 128]]


def test_version_1_has_plain_lists(client: httpx.Client) -> None:
    found = embed(client, "/v1/embed", texts=["hello"], input_type="clustering")
    assert found["response_type"] == "embeddings_floats"
    assert found["embeddings"] == embed(client, texts=["hello"])["embeddings"]["float"]
    typed = embed(client, "/v1/embed", texts=["hello"], embedding_types=["int8"])
    assert typed["response_type"] == "embeddings_by_type"
    assert list(typed["embeddings"]) == ["int8"]


def test_a_long_text_is_cut_unless_it_must_not_be(client: httpx.Client) -> None:
    long = ["hello " * 300 + "world " * 300]
    start, end = (embed(client, texts=long, truncate=side) for side in ("START", "END"))
    assert start["embeddings"] != end["embeddings"]
    assert end["meta"] == embed(client, texts=long)["meta"] == start["meta"]
    assert "takes" in refused(client, texts=long, truncate="NONE")
    cut = embed(client, texts=["hello world hello"], max_tokens=3)
    assert cut["meta"]["billed_units"]["input_tokens"] == 3
    assert "allows 3" in refused(client, texts=long, max_tokens=3, truncate="NONE")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "texts"),
        ({"texts": []}, "texts"),
        ({"texts": [""]}, "texts"),
        ({"texts": [1]}, "texts"),
        ({"texts": ["a"], "inputs": [{"content": []}]}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{"content": [{"type": "image_url"}]}]}, "inputs[0].content[0].type"),
        ({"images": ["data:"]}, "images"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, "embedding_types"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "truncate"),
        ({"texts": ["a"], "input_type": "music"}, "input_type"),
        ({"texts": ["a"], "output_dimension": 100}, "output_dimension"),
    ],
)
def test_what_is_wrong_is_named(client: httpx.Client, body: Any, named: str) -> None:
    assert named in refused(client, **body)


def test_token_ids_and_back(client: httpx.Client) -> None:
    found = embed(client, "/v1/tokenize", text="hello world", model="echo")
    assert len(found["tokens"]) == len(found["token_strings"]) > 0
    back = embed(client, "/v1/detokenize", tokens=found["tokens"], model="echo")
    assert back["text"] == "hello world"
    assert embed(client, "/v1/tokenize", text="")["tokens"] == []
    assert "tokens" in refused(client, "/v1/detokenize", tokens=[-1])
    assert "text is required" in refused(client, "/v1/tokenize")


def test_models_in_its_shape_for_its_clients(client: httpx.Client) -> None:
    path = "/v1/models"
    [card] = client.get(path, headers=THEIRS, params={"endpoint": "chat"}).json()["models"]
    assert (card["name"], card["finetuned"], card["context_length"]) == ("echo", False, 512)
    assert client.get(f"{path}/echo", headers={"x-client-name": "me"}).json() == card
    assert client.get(path, headers=THEIRS, params={"endpoint": "rerank"}).json() == {"models": []}
    assert client.get(path).json()["object"] == "list"
    after = client.get(path, headers=THEIRS, params={"page_token": "echo", "page_size": 1}).json()
    assert after == {"models": []}
    for query in ({"page_token": "nobody"}, {"page_size": 0}, {"page_size": "many"}):
        answer = client.get(path, headers=THEIRS, params=query)
        assert (answer.status_code, list(answer.json())) == (400, ["message"])


def test_who_is_not_here(client: httpx.Client) -> None:
    answer = client.post("/v2/parse", json={})
    assert (answer.status_code, list(answer.json())) == (404, ["message"])
