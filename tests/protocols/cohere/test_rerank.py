"""/v2/rerank: documents in order, by a reranker and by an embedding model; the engine scores a pair
by how many of its tokens stand in it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model

PATH = "/v2/rerank"
DOCUMENTS = ["something else", "build a bento", "numbers and signs"]
QUERY = "build a bento"
THEIRS = {"user-agent": "cohere/7.3.1"}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a server with a model of each kind."""
    root = tmp_path_factory.mktemp("rerankers")
    classifier: Any = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "yes"}}
    llms = [
        echo_llm(write_echo_model(root / "one", **classifier), name="reranker", task="classify"),
        echo_llm(write_echo_model(root / "two"), name="embedder", task="embed"),
        echo_llm(root / "two", name="writer"),
    ]
    with serve(*llms) as running, running.client() as client:
        yield client


def rerank(client: httpx.Client, **body: Any) -> httpx.Response:
    filled = {"model": "reranker", "query": QUERY, "documents": DOCUMENTS, **body}
    return client.post(PATH, json=filled)


@pytest.mark.parametrize("model", ["reranker", "embedder"])
def test_the_best_document_comes_first(scorer: httpx.Client, model: str) -> None:
    answer = rerank(scorer, model=model)
    assert answer.status_code == 200, answer.text
    assert "x-openllm-ignored" not in answer.headers
    found = answer.json()
    assert set(found) == {"id", "results", "meta"}
    assert [set(one) for one in found["results"]] == [{"index", "relevance_score"}] * 3
    assert found["results"][0]["index"] == 1
    scores = [one["relevance_score"] for one in found["results"]]
    assert scores == sorted(scores, reverse=True)
    assert found["meta"]["billed_units"]["input_tokens"] > 0
    assert rerank(scorer, model=model, top_n=2).json()["results"] == found["results"][:2]


def test_a_long_document_loses_its_end(scorer: httpx.Client) -> None:
    def used(**body: Any) -> int:
        answer = rerank(scorer, documents=["hello " * 900], **body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["meta"]["tokens"]["input_tokens"])

    assert used() == 512
    body = {"model": "writer", "prompt": QUERY}
    query = scorer.post("/tokenize", json=body).json()["count"]
    assert used(max_tokens_per_doc=10) == query + 1 + 10


def test_what_is_not_done_is_named(scorer: httpx.Client) -> None:
    off = {"mode": "disabled"}
    assert "x-openllm-ignored" not in rerank(scorer, relevant_spans=off, priority=0).headers
    answer = rerank(scorer, relevant_spans={"mode": "enabled"}, priority=3)
    assert answer.status_code == 200
    assert answer.headers["x-openllm-ignored"] == "relevant_spans, priority"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"query": None}, "query is required"),
        ({"documents": None}, "documents is required"),
        ({"query": ""}, "query: "),
        ({"documents": []}, "documents: "),
        ({"documents": ["a", ""]}, "documents: "),
        ({"documents": [{"text": "a"}]}, "documents: "),
        ({"documents": ["a"] * 1025}, "documents: "),
        ({"top_n": 0}, "top_n: "),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc: "),
        ({"model": "writer"}, "/v2/chat"),
    ],
)
def test_what_is_wrong_is_named(scorer: httpx.Client, body: dict[str, Any], named: str) -> None:
    answer = rerank(scorer, **body)
    assert answer.status_code == 400, answer.text
    assert named in answer.json()["message"]


def test_models_say_that_they_rerank(scorer: httpx.Client) -> None:
    path, asked = "/v1/models", {"endpoint": "rerank"}
    cards = scorer.get(path, headers=THEIRS, params=asked).json()["models"]
    assert [(card["name"], card["endpoints"]) for card in cards] == [
        ("reranker", ["rerank"]),
        ("embedder", ["embed", "rerank"]),
    ]
    assert cards[0]["features"] == []
