"""A path is found however clients write it, and in no other vendor's routes."""

from __future__ import annotations

import httpx
import openai
import pytest

import openllm
from tests.serving import Running

BODY = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/echo/chat/completions?api-version=2024-10-21",
    ],
)
def test_chat_is_found(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json=BODY)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "hello"


def test_models_are_found(client: httpx.Client) -> None:
    for path in ("/v1/models/", "/models", "/v1/models/echo/", "/models/echo"):
        assert client.get(path).status_code == 200, path
    assert client.get("/metadata").status_code == 404
    assert client.post("/chat/completion", json=BODY).status_code == 404
    assert client.get("/chat/completions").status_code == 405


def test_azures_client_works(running: Running) -> None:
    azure = openai.AzureOpenAI(
        azure_endpoint=running.url, api_key="none", api_version="2024-10-21", max_retries=0
    )
    answer = azure.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": "hello"}]
    )
    assert answer.choices[0].message.content == "hello"
    with pytest.raises(openai.NotFoundError, match="'gpt-4o'"):
        azure.completions.create(model="gpt-4o", prompt="hello")


def test_what_monitors_ask_is_answered(client: httpx.Client) -> None:
    assert client.get("/version").json() == {"version": openllm.__version__}
    assert client.get("/ping").json() == {"status": "ready"}
