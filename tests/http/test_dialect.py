"""Dialects: what an error shows of the machine (nothing), and a third party's own format over the
real server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from openllm.errors import (
    ConfigurationError,
    EngineDead,
    EngineError,
    InvalidRequest,
    ModelNotFound,
    OpenLLMError,
    WeightsError,
    call,
    field,
    option,
)
from openllm.http.body.fields import Written
from openllm.http.dialect import Dialect, Failure, tell
from tests.extensions import TELEGRAPH, installed
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

KEY = {"X-Telegraph-Key": "user-key"}
BEARER = {"Authorization": "Bearer user-key"}
TEXT = "hello world, how do I build it?"


class Plain(Dialect):
    """Renames two things."""

    fields: Mapping[str, str] = {"max_tokens": "limit"}
    calls: Mapping[str, str] = {"LLM.embed": "POST /embed"}

    def error(self, failure: Failure) -> str:
        return failure.message


# What an error becomes.


@pytest.mark.parametrize("kind", [EngineError, EngineDead, WeightsError, ConfigurationError])
@pytest.mark.parametrize(
    "path", ["/srv/models/x", "C:\\models\\x", "\\\\host\\share", "'/srv/models/x'"]
)
def test_what_an_engine_says_is_shown_without_paths(kind: type[OpenLLMError], path: str) -> None:
    error = kind(f"Reading {path} failed, see {path}.\nTraceback: line 1")
    message = tell(error, Plain()).message
    assert "models" not in message
    assert "share" not in message
    assert "Traceback" not in message
    assert message.startswith("Reading ")


def test_what_the_caller_wrote_is_shown_as_it_was() -> None:
    error = ModelNotFound("The model 'org/name' does not exist.", hint="See /v1/models.")
    message = tell(error, Plain()).message
    assert "org/name" in message
    assert "/v1/models" in message


def test_names_are_the_dialects() -> None:
    error = InvalidRequest(
        f"{field('max_tokens')} and {field('stop')} differ.",
        hint=f"Use {call('LLM.embed')} or a higher {option('max_model_len', 7)}.",
        param="max_tokens",
    )
    said = tell(error, Plain())
    assert said.message == (
        "limit and stop differ. Use POST /embed or a higher OPENLLM_MAX_MODEL_LEN=7."
    )
    assert said.param == "limit"


def test_a_field_that_the_client_wrote_is_not_renamed() -> None:
    said = tell(InvalidRequest("Unknown field.", param=Written("max_tokens")), Plain())
    assert said.param == "max_tokens"
    assert type(said.param) is str


def test_a_request_can_rename_more_without_changing_the_dialect() -> None:
    dialect = Plain()
    renamed = dialect.renamed(prompt="messages")
    assert (renamed.field("prompt"), renamed.field("max_tokens")) == ("messages", "limit")
    assert dialect.field("prompt") == "prompt"


# A third dialect.


@contextmanager
def telegraph(model: Path, site: Path, **engine_args: float) -> Iterator[Running]:
    """A server that has found somebody else's wire format beside its own."""
    settings = Settings(
        api_key="user-key", cors_origins=("https://chat.example",), strict_fields=True
    )
    llm = echo_llm(model, engine_args=engine_args)
    with installed(site, TELEGRAPH), serve(llm, settings=settings) as found:
        yield found


@pytest.fixture(scope="module")
def third(echo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with telegraph(echo_model, tmp_path_factory.mktemp("site")) as found:
        yield found


def say(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/telegraph/send", json={"text": TEXT, "words": 6, **body}, headers=KEY)


def test_a_whole_answer_has_its_content_type(third: Running) -> None:
    with third.client() as client:
        answer = say(client)
        other = client.post("/v1/completions", json={"prompt": TEXT}, headers=BEARER)
    assert answer.headers["content-type"] == "application/vnd.telegraph+json"
    assert answer.json()["words"] == 6
    assert other.headers["content-type"] == "application/json"


def test_a_stream_is_framed_and_ended_its_way(third: Running) -> None:
    with third.client() as client:
        whole = say(client).json()
        answer = say(client, live=True)
    assert answer.headers["content-type"] == "application/x-ndjson"
    *pieces, words, end = map(json.loads, answer.text.splitlines())
    assert "".join(piece["telegram"] for piece in pieces) == whole["telegram"]
    assert (words, end) == ({"words": 6}, {"telegram": "STOP"})


@pytest.mark.parametrize(
    ("body", "where", "words"),
    [
        ({"words": 99_999}, "words", "words is 99999. Shorten the prompt or lower words."),
        ({"until": ""}, "until", "until: an empty stop string"),
        ({"text": "a " * 900}, "text", "the prompt has"),
        ({"max_tokens": 1}, "max_tokens", "Unknown field 'max_tokens'."),  # the client's own word
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_an_error_before_the_answer_is_a_status_with_its_names(
    third: Running, body: dict[str, Any], where: str, words: str, live: bool
) -> None:
    with third.client() as client:
        answer = say(client, live=live, **body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/vnd.telegraph+json"
    assert answer.json().keys() == {"bounced", "at"}
    assert answer.json()["at"] == where
    assert words in answer.json()["bounced"]


def test_an_error_within_a_stream_is_its_last_line(echo_model: Path, tmp_path: Path) -> None:
    with telegraph(echo_model, tmp_path, die_after=3) as dying, dying.client() as client:
        answer = say(client, live=True)
    *pieces, last = map(json.loads, answer.text.splitlines())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert pieces
    assert all(piece.keys() == {"telegram"} for piece in pieces)
    assert last["bounced"].startswith("The echo engine has stopped")


@pytest.mark.parametrize("headers", [{}, BEARER, {"X-Telegraph-Key": "wrong"}])
def test_a_key_is_asked_for_and_taken_its_way_only(third: Running, headers: dict[str, str]) -> None:
    with third.client() as client:
        answer = client.post("/telegraph/send", json={"text": TEXT}, headers=headers)
        elsewhere = client.get("/v1/models", headers=KEY)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Telegraph realm="openllm"'
    assert answer.json().keys() == {"bounced", "at"}
    assert ("X-Telegraph-Key" in answer.json()["bounced"]) == ("X-Telegraph-Key" not in headers)
    assert elsewhere.status_code == 401
    assert "error" in elsewhere.json()


def test_pages_of_other_origins_may_send_its_key(third: Running) -> None:
    with third.client() as client:
        origin = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
        allowed = client.options("/telegraph/send", headers=origin).headers
        other = client.options("/v1/chat/completions", headers=origin).headers
    assert "x-telegraph-key" in allowed["access-control-allow-headers"]
    assert "x-telegraph-key" not in other["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("method", "path", "status", "shape"),
    [
        ("GET", "/telegraph/nothing", 404, "bounced"),
        ("POST", "/telegraph/nothing", 404, "bounced"),
        ("GET", "/telegraph/send", 405, "bounced"),
        ("GET", "/telegraphs", 404, "error"),
        ("GET", "/v1/nothing", 404, "error"),
        ("GET", "/v1/completions", 405, "error"),
    ],
)
def test_what_is_not_there_is_told_in_the_dialect_of_the_path(
    third: Running, method: str, path: str, status: int, shape: str
) -> None:
    with third.client() as client:
        answer = client.request(method, path, headers={**KEY, **BEARER})
    assert answer.status_code == status
    assert shape in answer.json()
    assert ("allow" in answer.headers) == (status == 405)
