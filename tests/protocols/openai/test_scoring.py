"""/v1/rerank, /v1/score and /v1/classify: documents in order, scores of pairs, labels of texts; by
an engine that scores a pair by how many of its tokens stand in it twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.llm.llm import LLM
from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model

DOCUMENTS = ["something else", "build a bento", "numbers and signs"]
QUERY = "build a bento"
ARCHITECTURE = ["BertForSequenceClassification"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("classifiers")
    one, three = {"0": "good"}, {str(at): f"kind {at}" for at in range(3)}
    return {
        "reranker": write_echo_model(root / "one", architectures=ARCHITECTURE, id2label=one),
        "labeller": write_echo_model(root / "three", architectures=ARCHITECTURE, id2label=three),
        "embedder": write_echo_model(root / "vectors"),
    }


@pytest.fixture(scope="module")
def scorer(models: dict[str, Path]) -> Iterator[httpx.Client]:
    """Of a server with a model of each kind."""
    tasks = {"reranker": "classify", "labeller": "classify", "embedder": "embed"}
    llms = [echo_llm(path, name=name, task=tasks[name]) for name, path in models.items()]
    writer = echo_llm(models["embedder"], name="writer")
    with serve(*llms, writer) as running, running.client() as client:
        yield client


def rerank(client: httpx.Client, path: str = "/v1/rerank", **body: Any) -> Any:
    filled = {"model": "reranker", "query": QUERY, "documents": DOCUMENTS, **body}
    answer = client.post(path, json=filled)
    assert answer.status_code == 200, answer.text
    assert "x-openllm-ignored" not in answer.headers
    return answer.json()


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_the_best_document_comes_first(scorer: httpx.Client, path: str) -> None:
    answer = rerank(scorer, path)
    assert answer["results"][0]["index"] == 1
    assert answer["results"][0]["document"] == {"text": QUERY}
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert answer["model"] == "reranker"
    assert answer["id"].startswith("rerank-")
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


def test_documents_as_objects_and_only_some_of_them(scorer: httpx.Client) -> None:
    whole = rerank(scorer)
    objects = [{"text": text, "title": "a"} for text in DOCUMENTS]
    assert rerank(scorer, documents=objects)["results"] == whole["results"]
    parts = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
    assert rerank(scorer, documents=parts, top_n=0)["results"] == whole["results"]
    assert rerank(scorer, top_n=2)["results"] == whole["results"][:2]
    bare = rerank(scorer, top_n=1, return_documents=False)["results"]
    assert bare == [{"index": 1, "relevance_score": whole["results"][0]["relevance_score"]}]
    assert rerank(scorer, query={"text": QUERY})["results"] == whole["results"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2")],
)
def test_scores_of_pairs(scorer: httpx.Client, first: str, second: str) -> None:
    body = {"model": "reranker", first: QUERY, second: DOCUMENTS}
    answer = scorer.post("/score", json=body).json()
    assert answer["object"] == "list"
    assert [(one["index"], one["object"]) for one in answer["data"]] == [
        (at, "score") for at in range(3)
    ]
    by_rank = {one["index"]: one["relevance_score"] for one in rerank(scorer)["results"]}
    assert [one["score"] for one in answer["data"]] == [by_rank[at] for at in range(3)]
    each = {"model": "reranker", first: DOCUMENTS, second: DOCUMENTS}
    scores = [one["score"] for one in scorer.post("/v1/score", json=each).json()["data"]]
    assert scores[1] == by_rank[1]
    raw = scorer.post("/score", json={**body, "use_activation": False}).json()["data"]
    assert raw[1]["score"] != answer["data"][1]["score"]


def test_an_embedding_model_scores_by_the_cosine(scorer: httpx.Client) -> None:
    results = rerank(scorer, model="embedder")["results"]
    assert results[0]["index"] == 1
    assert results[0]["relevance_score"] == pytest.approx(1.0)
    assert results[1]["relevance_score"] < 0.99


def test_labels_of_texts(scorer: httpx.Client) -> None:
    body = {"model": "labeller", "input": ["hello hello", "build"]}
    answer = scorer.post("/classify", json=body).json()
    first, second = answer["data"]
    assert (first["index"], first["label"], first["num_classes"]) == (0, "kind 2", 3)
    assert sum(first["probs"]) == pytest.approx(1.0)
    assert second["probs"] != first["probs"]
    ids = scorer.post("/v1/classify", json={**body, "input": [5, 5, 6]}).json()
    assert ids["usage"]["prompt_tokens"] == 3
    raw = scorer.post("/v1/classify", json={**body, "use_activation": False}).json()
    low, _, high = raw["data"][0]["probs"]
    assert high == pytest.approx(3 * low)


@pytest.mark.parametrize(
    ("path", "model", "says"),
    [
        ("/v1/rerank", "writer", "writer is a model that writes text.*reranker.*embedding model"),
        ("/v1/score", "labeller", "3 labels"),
        ("/v1/classify", "writer", "sequence-classification model"),
        ("/v1/classify", "embedder", "embedder is an embedding model.*/v1/embeddings"),
        ("/v1/embeddings", "reranker", "sequence-classification model.*/v1/rerank"),
        ("/v1/completions", "reranker", "sequence-classification model.*/v1/rerank"),
    ],
)
def test_a_model_of_another_kind_says_which_kind_it_takes(
    scorer: httpx.Client, path: str, model: str, says: str
) -> None:
    texts = {"query": "a", "documents": ["b"], "queries": "a", "input": "a", "prompt": "a"}
    answer = scorer.post(path, json={"model": model, **texts})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "model"
    assert error["code"] == "unsupported_feature"

    assert re.search(says, error["message"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "a"}, "documents"),
        ({"query": "a", "documents": []}, "documents"),
        ({"query": "a", "documents": [""]}, "documents"),
        ({"query": "a", "documents": [1]}, "documents"),
        ({"query": "a", "documents": [{"title": "b"}]}, "documents"),
        ({"query": "a", "documents": ["b"] * 1025}, "documents"),
        ({"query": "a" * 9000, "documents": ["b"] * 1000}, "documents"),
        ({"query": ["a", "b"], "documents": ["c", "d"]}, "query"),
        ({"query": "a", "documents": ["b"], "top_n": -1}, "top_n"),
        (
            {"query": "a", "documents": ["b"], "truncate_prompt_tokens": -2},
            "truncate_prompt_tokens",
        ),
        ({"query": "a", "documents": ["b"], "instruction": "judge"}, "instruction"),
        ({"query": "a", "documents": ["hello " * 900]}, "documents"),
    ],
)
def test_bad_input_is_named(scorer: httpx.Client, body: dict[str, Any], param: str) -> None:
    answer = scorer.post("/v1/rerank", json={"model": "reranker", **body})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_the_field_is_named_as_the_client_calls_it(scorer: httpx.Client) -> None:
    body = {"model": "reranker", "text_1": ["a", "b"], "text_2": ["c", "d", "e"]}
    error = scorer.post("/v1/score", json=body).json()["error"]
    assert error["param"] == "text_2"


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({"truncate_prompt_tokens": -1}, 512),
        ({"truncate_prompt_tokens": 40}, 40),
        ({"truncation": True}, 512),
        ({"max_tokens_per_doc": 10}, None),
    ],
)
def test_a_long_document_is_cut_for_who_asks(
    scorer: httpx.Client, fields: dict[str, Any], tokens: int | None
) -> None:
    usage = rerank(scorer, documents=["hello " * 900], **fields)["usage"]
    query = scorer.post("/tokenize", json={"model": "writer", "prompt": QUERY}).json()["count"]
    assert usage["prompt_tokens"] == (tokens or query + 1 + 10)


def test_the_tokens_of_pairs_are_counted(models: dict[str, Path]) -> None:
    llm = echo_llm(models["reranker"], name="reranker", task="classify")
    with serve(llm) as running, running.client() as client:
        used = rerank(client)["usage"]["prompt_tokens"]
        lines = client.get("/metrics").text.splitlines()
    [counted] = [line for line in lines if line.startswith("openllm_prompt_tokens_total{")]
    assert float(counted.rpartition(" ")[2]) == used


def test_files_alone_make_a_model_a_classifier(models: dict[str, Path]) -> None:
    assert LLM(models["reranker"], backend="echo").spec.task == "classify"
