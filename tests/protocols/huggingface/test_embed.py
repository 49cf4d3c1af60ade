"""POST / and /embed for vectors, as TEI answers, and /info."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest


def test_vectors_are_a_list_for_one_text_too(client: httpx.Client) -> None:
    one = client.post("/embed", json={"inputs": "hello"}).json()
    two = client.post("/embed", json={"inputs": ["hello", "world"]}).json()
    assert len(one) == 1
    assert two[0] == one[0] != two[1]
    assert math.hypot(*one[0]) == pytest.approx(1)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["hello"]},
        {"inputs": "hello", "normalize": True},
        {"inputs": "hello", "truncate": True},
    ],
)
def test_the_root_tells_vectors_by_what_is_asked(client: httpx.Client, body: Any) -> None:
    expected = client.post("/embed", json={"inputs": "hello"}).json()
    assert client.post("/", json=body).json() == expected


def test_vectors_are_scaled_and_cut_as_asked(client: httpx.Client) -> None:
    body: Any = {"inputs": "hello world, how do I build it?", "normalize": False}
    [vector] = client.post("/", json=body).json()
    assert math.hypot(*vector) > 1.5
    [cut] = client.post("/", json={**body, "dimensions": 2}).json()
    assert cut == vector[:2]


def test_a_long_text_is_cut_where_it_may_be(client: httpx.Client) -> None:
    text = "hello world " * 300 + "build"
    refused = client.post("/embed", json={"inputs": text})
    assert refused.status_code == 422
    assert refused.json()["error_type"] == "validation"
    sides = [
        client.post("/embed", json={"inputs": text, "truncate": True, "truncation_direction": side})
        for side in ("left", "right", "Right")
    ]
    left, right, same = (answer.json() for answer in sides)
    assert left != right == same


def test_what_would_change_a_vector_is_refused(client: httpx.Client) -> None:
    for field, says in (
        ("prompt_name", "This model has no prompt 'base64'."),
        ("encoding_format", "encoding_format is not supported."),
    ):
        answer = client.post("/embed", json={"inputs": "hello", field: "base64"})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith(says)


def test_info(client: httpx.Client) -> None:
    found = client.get("/info").json()
    assert (found["model_id"], found["max_total_tokens"]) == ("echo", 512)
    assert found["model_pipeline_tag"] == "text-generation"
