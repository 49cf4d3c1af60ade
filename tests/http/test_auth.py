"""Keys and origins: who may come in, on every route there is."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from openllm.http.dialect import Failure
from openllm.protocols.native.dialect import Native
from openllm.protocols.openai.dialect import OpenAI
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

KEY = {"Authorization": "Bearer user-key"}
ADMIN = {"Authorization": "Bearer admin-key"}
OPEN = ("/livez", "/readyz")


@pytest.fixture(scope="module")
def locked(echo_model: Path) -> Iterator[Running]:
    settings = Settings(
        api_key="user-key", admin_key="admin-key", max_body_bytes=4096, max_header_bytes=4096
    )
    with serve(echo_llm(echo_model), settings=settings) as found:
        yield found


def paths(running: Running) -> list[str]:
    found = [route.path for route in running.server.routes]
    return [path.replace("{model:path}", "echo").replace("{name}", "x") for path in found]


def refusal(locked: Running, method: str, path: str) -> Any:
    """What one gets who shows no key, in the dialect of the path."""
    scope = {"type": "http", "method": method, "path": path, "headers": []}
    dialect = locked.server.routes.find(scope, path).dialect
    message = f"An API key is needed. Send it as {dialect.key_hint}."
    said = dialect.error(Failure(401, "authentication_error", message, None, "invalid_api_key"))
    if isinstance(dialect, OpenAI | Native):
        assert said["error"]["code"] == "invalid_api_key"
    return said


def test_every_route_but_two_needs_the_key(locked: Running) -> None:
    found = paths(locked)
    assert len(found) > 15
    with locked.client() as client:
        for path in [
            *found,
            "/nope",
            "/docs",
            "/v1/models/",
            "/livez/",
            "/readyz/x",
            "/LIVEZ",
            "//livez",
        ]:
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
                answer = client.request(method, path)
                if path in OPEN:
                    assert answer.status_code in (200, 405)
                    continue
                assert answer.status_code == 401, (method, path)
                assert "www-authenticate" in answer.headers
                if method != "HEAD":
                    assert answer.json() == refusal(locked, method, answer.request.url.path)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrong",
        "Bearer",
        "user-key",
        "Basic dXNlci1rZXk=",
        "Bearer user-key-and-more",
        "\xff",
    ],
)
def test_a_wrong_key_is_refused(locked: Running, header: str) -> None:
    with locked.client() as client:
        answer = client.get("/v1/models", headers={b"authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert "user-key" not in answer.text


def test_the_key_opens_what_is_not_the_administrators(locked: Running) -> None:
    with locked.client(headers=KEY) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.get("/v1/adapters").status_code == 403
    with locked.client(headers=ADMIN) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/adapters").status_code == 200


def test_the_official_client_gets_its_own_error(locked: Running) -> None:
    with locked.openai("wrong") as wrong, pytest.raises(openai.AuthenticationError):
        wrong.models.list()
    with locked.openai("user-key") as right:
        assert right.completions.create(model="echo", prompt="hello").usage is not None


def test_a_browser_may_open_the_page_with_the_key_as_password(locked: Running) -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(b"anyone:user-key").decode()}
    with locked.client() as client:
        assert client.get("/").headers["www-authenticate"].startswith("Basic")
        assert client.get("/", headers=basic).status_code == 200
        assert client.get("/ui/app.js", headers=basic).status_code == 200
        assert (
            client.get("/v1/models", headers=basic).status_code == 401
        )  # another page could make a browser send it
        assert client.get("/", headers={"Authorization": "Basic !!"}).status_code == 401


def test_no_body_is_read_before_the_key(locked: Running) -> None:
    with locked.client() as client:
        answer = client.post("/v1/completions", content=b"x" * 100_000)
    assert answer.status_code == 401


def test_a_request_id_that_could_split_a_header_is_replaced(client: httpx.Client) -> None:
    assert (
        client.get("/v1/models", headers={"x-request-id": "good-1.2:3"}).headers["x-request-id"]
        == "good-1.2:3"
    )
    for bad in ("a b", "a" * 200, "<script>"):
        assert (
            client.get("/v1/models", headers={"x-request-id": bad}).headers["x-request-id"] != bad
        )


def test_pages_of_allowed_origins_may_read_answers(echo_model: Path) -> None:
    settings = Settings(api_key="user-key", cors_origins=("https://chat.example",))
    with serve(echo_llm(echo_model), settings=settings) as running, running.client() as client:
        allowed = {"Origin": "https://chat.example", "Access-Control-Request-Method": "POST"}
        preflight = client.options("/v1/chat/completions", headers=allowed)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://chat.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        answer = client.get("/v1/models", headers={**KEY, "Origin": "https://chat.example"})
        assert answer.headers["access-control-allow-origin"] == "https://chat.example"
        assert (
            client.get("/v1/models", headers={"Origin": "https://chat.example"}).status_code == 401
        )
        other = {"Origin": "https://evil.example"}
        assert client.options("/v1/chat/completions", headers=other).status_code == 401
        assert (
            "access-control-allow-origin"
            not in client.get("/v1/models", headers={**KEY, **other}).headers
        )
