"""/api/embed and /api/embeddings: several texts with vectors of length 1, one with its own."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest

PATH = "/api/embed"


def test_one_text_and_several(client: httpx.Client) -> None:
    one = client.post(PATH, json={"model": "echo", "input": "hello"}).json()
    two = client.post(PATH, json={"model": "echo:latest", "input": ["hello", "world"]}).json()
    assert len(one["embeddings"]) == 1
    assert two["embeddings"][0] == one["embeddings"][0] != two["embeddings"][1]
    assert math.hypot(*one["embeddings"][0]) == pytest.approx(1)
    assert two["prompt_eval_count"] > one["prompt_eval_count"] > 0
    assert one["total_duration"] > 0
    assert one["model"] == "echo"


def test_the_earlier_route_has_one_vector_that_is_not_scaled(client: httpx.Client) -> None:
    vector = client.post("/api/embeddings", json={"prompt": "hello"}).json()["embedding"]
    unit = client.post(PATH, json={"input": "hello"}).json()["embeddings"][0]
    length = math.hypot(*vector)
    assert [value / length for value in vector] == pytest.approx(unit)
    assert client.post("/api/embeddings", json={"prompt": ""}).json() == {"embedding": []}


def test_dimensions_cut(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"input": "hello", "dimensions": 2}).json()
    assert len(answer["embeddings"][0]) == 2


def test_a_long_text_is_cut_unless_it_must_not_be(client: httpx.Client) -> None:
    body: dict[str, Any] = {"input": "hello " * 600}
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200
    assert answer.json()["prompt_eval_count"] == 512
    refused = client.post(PATH, json={**body, "truncate": False})
    assert refused.status_code == 400
    assert "this model takes 512" in refused.json()["error"]


def test_no_input_asks_for_the_model_to_be_loaded(client: httpx.Client) -> None:
    answer = client.post(PATH, json={"model": "echo", "keep_alive": 60}).json()
    assert answer["embeddings"] == []
