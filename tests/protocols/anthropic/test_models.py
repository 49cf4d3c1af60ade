"""/v1/models for Anthropic's clients, at the path that OpenAI's have theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import serve

PATH = "/v1/models"
VERSION = {"anthropic-version": "2023-06-01"}


@pytest.fixture(scope="module")
def several(echo_model: Path) -> Iterator[httpx.Client]:
    names = ("org/first", "second", "third")
    llms = [echo_llm(echo_model, name=name) for name in names]
    with serve(*llms) as running, running.client(headers=VERSION) as client:
        yield client


def test_the_headers_say_whose_list_it_is(client: httpx.Client) -> None:
    ours = client.get(PATH).json()
    theirs = client.get(PATH, headers=VERSION).json()
    assert "object" in ours
    [card] = theirs["data"]
    assert (card["type"], card["id"], card["lifecycle"]) == ("model", "echo", "active")
    assert card["max_input_tokens"] == 512
    assert card["created_at"].endswith("Z")
    assert (theirs["first_id"], theirs["last_id"], theirs["has_more"]) == ("echo", "echo", False)
    assert client.get(f"{PATH}/echo", headers=VERSION).json() == card
    assert client.get(f"{PATH}/echo").json()["object"] == "model"


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ({"limit": 2}, ["org/first", "second"], True),
        ({"limit": 2, "after_id": "second"}, ["third"], False),
        ({"limit": 1, "before_id": "third"}, ["second"], True),
        ({"after_id": "third"}, [], False),
    ],
)
def test_it_comes_in_pages(
    several: httpx.Client, query: dict[str, Any], ids: list[str], more: bool
) -> None:
    found = several.get(PATH, params=query).json()
    assert [card["id"] for card in found["data"]] == ids
    assert found["has_more"] == more


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "many"}, {"after_id": "nobody"}])
def test_a_page_that_cannot_be_is_refused(several: httpx.Client, query: dict[str, str]) -> None:
    answer = several.get(PATH, params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["error"]["message"]


def test_it_is_there_without_openais(echo_model: Path) -> None:
    settings = Settings(protocols=("anthropic",))
    with serve(echo_llm(echo_model), settings=settings) as alone, alone.client() as client:
        assert client.get(PATH, headers=VERSION).json()["data"][0]["id"] == "echo"
        assert client.post("/v1/completions", json={"prompt": "hello"}).status_code == 404
