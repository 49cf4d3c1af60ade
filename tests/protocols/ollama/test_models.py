"""What Ollama's clients ask about models, and what only the operator may do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from openllm.config.settings import Settings
from openllm.protocols.ollama.models import VERSION
from tests.protocols.conftest import echo_llm
from tests.scripted import Scripted
from tests.serving import serve


def test_tags_and_ps_list_what_is_served(client: httpx.Client) -> None:
    [listed] = client.get("/api/tags").json()["models"]
    [loaded] = client.get("/api/ps").json()["models"]
    assert listed["name"] == listed["model"] == loaded["name"] == "echo:latest"
    assert listed["digest"] == loaded["digest"]
    assert len(listed["digest"]) == 64
    assert listed["details"]["families"] == [listed["details"]["family"]]
    assert loaded["context_length"] == 512
    assert loaded["size_vram"] == 0
    assert loaded["expires_at"] > listed["modified_at"]


def test_show_has_what_clients_look_for(
    scripted: tuple[Scripted, httpx.Client], client: httpx.Client
) -> None:
    found = scripted[1].post("/api/show", json={"model": "scripted"}).json()
    assert found["capabilities"] == ["completion", "tools", "thinking"]
    assert found["template"] == scripted[0].llm.renderer.source(tools=False)
    family = found["model_info"]["general.architecture"]
    assert found["model_info"][f"{family}.context_length"] == 4096
    assert found["model_info"][f"{family}.embedding_length"] > 0
    assert found["details"]["format"] == "safetensors"
    earlier = client.post("/api/show", json={"name": "echo:latest", "verbose": True})
    assert earlier.json()["model_info"]["general.basename"] == "echo"
    assert client.post("/api/show", json={"model": "nope"}).status_code == 404


def test_parameters_are_counted_in_the_weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.tiny import write_llama

    path = write_llama(tmp_path_factory.mktemp("tiny") / "tiny")
    with serve(echo_llm(path)) as running, running.client() as client:
        [listed] = client.get("/api/tags").json()["models"]
        shown = client.post("/api/show", json={}).json()
    assert listed["size"] > 0
    count = shown["model_info"]["general.parameter_count"]
    assert listed["size"] > 4 * count > 0.9 * listed["size"]  # 32-bit floats and a header
    assert listed["details"]["parameter_size"][-1] in "KMB"


def test_the_version_is_that_of_the_api(client: httpx.Client) -> None:
    assert client.get("/api/version").json() == {"version": VERSION}


@pytest.mark.parametrize("agent", ["ollama/0.13.0 (amd64 linux) Go/go1.24", "ollama-python/0.6.3"])
def test_ollamas_clients_see_that_it_runs_and_browsers_the_page(
    client: httpx.Client, agent: str
) -> None:
    answer = client.get("/", headers={"User-Agent": agent})
    assert answer.text == "Ollama is running"
    assert client.head("/", headers={"User-Agent": agent}).status_code == 200
    assert client.get("/").headers["content-type"].startswith("text/html")


def test_it_runs_without_the_page_too(echo_model: Path) -> None:
    with (
        serve(echo_llm(echo_model), settings=Settings(ui=False)) as running,
        running.client() as client,
    ):
        assert client.get("/", headers={"User-Agent": "ollama-js/0.6.0"}).status_code == 200
        assert client.get("/").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:29fdb92e57cf0827"),
    ],
)
def test_what_changes_models_is_the_operators(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, json={"model": "llama3.2"})
    assert answer.status_code == 400
    assert "GET /api/tags lists them." in answer.json()["error"]


def test_a_path_that_is_not_there_is_said_in_ollamas_shape(client: httpx.Client) -> None:
    answer = client.get("/api/nothing")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]
    assert client.get("/api/chat").status_code == 405
