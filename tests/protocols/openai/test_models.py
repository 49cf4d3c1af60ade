"""/v1/models and routing by model name, with several models behind one server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from openllm.errors import ConfigurationError
from openllm.http.catalog import Catalog
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve


@pytest.fixture(scope="module")
def several(echo_model: Path) -> Iterator[Running]:
    llms = [
        echo_llm(echo_model, name="org/first"),
        echo_llm(echo_model, name="second"),
        echo_llm(echo_model, name="vectors", task="embed"),
    ]
    with serve(*llms) as found:
        yield found


def test_models_are_listed_and_found_by_ids_with_slashes(several: Running) -> None:
    with several.openai() as official:
        assert [model.id for model in official.models.list()] == ["org/first", "second", "vectors"]
        card = official.models.retrieve("org/first")
        assert (card.id, card.object, card.owned_by) == ("org/first", "model", "openllm")
        outputs = [model.to_dict()["architecture"] for model in official.models.list()]
        assert [each["modality"] for each in outputs] == [*["text->text"] * 2, "text->embeddings"]  # type: ignore[index]


def test_a_model_that_is_not_there_is_a_404_in_openais_shape(several: Running) -> None:
    with several.openai() as official:
        with pytest.raises(openai.NotFoundError) as caught:
            official.models.retrieve("org/frist")
        assert caught.value.code == "model_not_found"
        assert "org/first" in str(caught.value)
        with pytest.raises(openai.NotFoundError) as caught:
            official.chat.completions.create(
                model="gpt-4", messages=[{"role": "user", "content": "a"}]
            )
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_requests_go_to_the_model_they_name(several: Running) -> None:
    with several.openai() as official:
        for name in ("org/first", "second"):
            assert official.completions.create(model=name, prompt="hello").model == name
        assert official.embeddings.create(model="vectors", input="hello").model == "vectors"


def test_model_may_be_absent_only_while_there_is_one(
    several: Running, client: httpx.Client
) -> None:
    body = {"prompt": "hello"}
    assert client.post("/v1/completions", json=body).json()["model"] == "echo"
    with several.client() as many:
        answer = many.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"
    assert "org/first" in answer.json()["error"]["message"]


def test_an_embedding_model_does_not_generate(several: Running) -> None:
    with several.client() as many:
        answer = many.post("/v1/completions", json={"model": "vectors", "prompt": "hello"})
    assert answer.status_code == 400
    assert "/v1/embeddings" in answer.json()["error"]["message"]


def test_a_catalog_needs_models_of_different_names(echo_model: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        Catalog([])
    with pytest.raises(ConfigurationError, match="Two models are called 'echo'"):
        Catalog([echo_llm(echo_model), echo_llm(echo_model)])


def test_other_names_are_listed_and_answered_to(echo_model: Path) -> None:
    with (
        serve(echo_llm(echo_model, aliases=("gpt-4o", "org/echo"))) as running,
        running.openai() as official,
    ):
        assert [model.id for model in official.models.list()] == ["echo", "gpt-4o", "org/echo"]
        answer = official.completions.create(model="gpt-4o", prompt="hi", max_tokens=2)
        assert answer.model == "gpt-4o"
        models = httpx.get(f"{running.url}/v1/metadata").json()["models"]
        assert [model["model_id"] for model in models] == ["echo"]


def test_two_models_cannot_share_a_name(echo_model: Path) -> None:
    first = echo_llm(echo_model, name="a", aliases=["same"])
    with pytest.raises(ConfigurationError, match="'same'"):
        Catalog([first, echo_llm(echo_model, name="b", aliases=["same"])])


def test_any_name_stands_for_the_first_model_that_does_the_work(echo_model: Path) -> None:
    llms = [echo_llm(echo_model, name="vectors", task="embed"), echo_llm(echo_model)]
    with (
        serve(*llms, settings=Settings(any_model=True)) as running,
        running.openai() as official,
    ):
        for name in ("gpt-4o", ""):
            answer = official.completions.create(model=name, prompt="hi", max_tokens=2)
            assert answer.model == "echo"
        vectors = official.embeddings.create(model="text-embedding-3-small", input="hi")
        assert vectors.model == "vectors"
        with pytest.raises(openai.NotFoundError):
            official.models.retrieve("gpt-4o")
