"""Pages of others cannot use a server through a browser: neither by a name of their own, nor by
what needs no permission.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from openllm.errors import Forbidden
from openllm.http.origins import Origins
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

PATH = "/v1/completions"
BODY = b'{"prompt": "hello", "max_tokens": 1}'
OTHER = {"origin": "https://evil.example"}


@pytest.fixture(scope="module")
def page(echo_model: Path) -> Iterator[httpx.Client]:
    settings = Settings(
        allowed_hosts=("llm.example",), cors_origins=("https://chat.example",), any_model=True
    )
    with serve(echo_llm(echo_model), settings=settings) as found, found.client() as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:3000", 200),
        ("127.0.0.1:3000", 200),
        ("[::1]:3000", 200),
        ("192.168.1.7", 200),
        ("llm", 200),
        ("app.localhost:80", 200),
        ("host.docker.internal", 200),
        ("printer.local.", 200),
        ("llm.example:8080", 200),
        ("LLM.example", 200),
        ("evil.example", 403),
        ("evil.example:3000", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example.", 403),
    ],
)
def test_a_server_without_a_key_knows_its_names(page: httpx.Client, host: str, status: int) -> None:
    for path in ("/v1/models", "/", "/metrics"):
        assert page.get(path, headers={"host": host}).status_code == status


def test_a_request_without_a_host_is_nobodys_page(running: Running) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert b" 200 " in connection.makefile("rb").read()


@pytest.mark.parametrize(
    ("settings", "server", "refused"),
    [
        (Settings(), ("127.0.0.1", 3000), True),
        (Settings(), ("::1", 3000), True),
        (Settings(), ("::ffff:127.0.0.1", 3000), True),
        (Settings(api_key="key"), ("127.0.0.1", 3000), False),
        (Settings(allowed_hosts=("*",)), ("127.0.0.1", 3000), False),
        (Settings(), ("10.0.0.1", 3000), False),
        (Settings(), ("/run/openllm.sock", None), False),
        (Settings(), None, False),
    ],
)
def test_names_matter_where_only_this_machine_gets_in_without_a_key(
    settings: Settings, server: Any, refused: bool
) -> None:
    scope = {"type": "http", "method": "GET", "server": server}
    headers = {b"host": b"evil.example"}
    if refused:
        with pytest.raises(Forbidden, match=r"evil\.example"):
            Origins(settings).check(scope, headers)
    else:
        Origins(settings).check(scope, headers)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**OTHER, "content-type": "text/plain"}, 403),
        ({**OTHER, "content-type": "application/x-www-form-urlencoded"}, 403),
        ({**OTHER, "content-type": "multipart/form-data; boundary=x"}, 403),
        ({**OTHER, "content-type": "text/plain; application/json"}, 403),
        (OTHER, 403),
        ({"origin": "null", "content-type": "text/plain"}, 403),
        ({**OTHER, "content-type": "application/json; charset=utf-8"}, 200),
        ({**OTHER, "content-type": "application/vnd.api+json"}, 200),
        ({"origin": "https://chat.example", "content-type": "text/plain"}, 200),
        ({"origin": "http://localhost:3000", "host": "localhost:3000"}, 200),
        ({"content-type": "application/x-www-form-urlencoded"}, 200),
        ({}, 200),
    ],
)
def test_other_origins_send_json_alone(
    page: httpx.Client, headers: dict[str, str], status: int
) -> None:
    answer = page.post(PATH, content=BODY, headers=headers)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert "application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        ("LLM.example.com:443", "llm.example.com", True),
        ("*.example.com", "llm.example.com:8443", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("example.com", "llm.example.com", False),
        ("*", "any.where", True),
    ],
)
def test_names_are_allowed_as_operators_write_them(allowed: str, host: str, passes: bool) -> None:
    origins = Origins(Settings(allowed_hosts=(allowed,)))
    scope = {"method": "GET", "server": ("127.0.0.1", 3000)}
    if passes:
        origins.check(scope, {b"host": host.encode()})
        return
    with pytest.raises(Forbidden):
        origins.check(scope, {b"host": host.encode()})


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ({}, False),
        ({b"sec-fetch-site": b"cross-site"}, False),
        ({b"sec-fetch-site": b"same-origin"}, True),
        ({b"authorization": b"Bearer key"}, True),
        ({b"x-api-key": b"key"}, True),
    ],
)
def test_what_a_page_cannot_say_without_asking_tells_it_is_ours(
    said: dict[bytes, bytes], passes: bool
) -> None:
    origins = Origins(Settings(api_key="key"))
    scope = {"method": "POST", "server": ("10.0.0.1", 80)}
    headers = {b"host": b"localhost:3000", b"origin": b"https://chat.example", **said}
    if passes:
        origins.check(scope, headers)
        return
    with pytest.raises(Forbidden):
        origins.check(scope, headers)
