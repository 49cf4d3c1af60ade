"""The commands that talk to a server or to a tokenizer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.cli.conftest import Run
from tests.serving import Running, serve, write_echo_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_model(tmp_path_factory.mktemp("asking") / "echo-model")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    spec = LLMSpec(model_id=str(model), name="echo", backend="echo")
    with serve(
        LLM.from_spec(spec, model), settings=Settings(api_key="user", admin_key="admin")
    ) as running:
        yield running


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_ask_prints_the_answer(run: Run, server: Running, stream: str) -> None:
    result = run("ask", "hello world", "--endpoint", server.url, stream, OPENLLM_API_KEY="user")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "hello world" in result.stdout
    assert result.stdout.endswith("\n")


def test_ask_takes_its_options_into_the_request(run: Run, server: Running) -> None:
    args = [
        "--system",
        "be brief",
        "--max-tokens",
        "3",
        "--temperature",
        "0",
        "--model",
        "echo",
        "--api-key",
        "user",
    ]
    short = run("ask", "hello world", *args, OPENLLM_ENDPOINT=server.url)
    whole = run("ask", "hello world", *args[4:], "--max-tokens", "400", OPENLLM_ENDPOINT=server.url)
    assert (short.exit_code, whole.exit_code) == (0, 0)
    assert len(short.stdout) < len(whole.stdout)


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize(
    ("args", "key", "says"),
    [
        ((), "", "An API key is needed. Send it as `Authorization: Bearer KEY`."),
        ((), "wrong", "The API key is wrong."),
        (("--model", "nobody"), "user", "nobody"),
        (("--model", "echo", "--temperature", "7"), "user", "temperature"),
    ],
)
def test_what_the_server_refuses_is_one_line(
    run: Run, server: Running, stream: str, args: tuple[str, ...], key: str, says: str
) -> None:
    variables = {"OPENLLM_API_KEY": key} if key else {}
    result = run("ask", "hi", "--endpoint", server.url, stream, *args, **variables)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("ask", "hi"), ("adapters", "list")])
def test_no_server_is_one_line_that_says_how_to_start_one(run: Run, args: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{_closed_port()}"
    result = run(*args, "--endpoint", url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: No server answers at {url}. Start one: openllm start.\n"


class Scripted(BaseHTTPRequestHandler):
    """Answers what a test put into `answers`, and keeps what was asked."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {}
    asked: ClassVar[list[tuple[str, str, Any]]] = []

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append((self.command, self.path, json.loads(body) if body else None))
        status, text = self.answers[f"{self.command} {self.path}"]
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815  the base class wants these names

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""


@pytest.fixture
def scripted() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()
    Scripted.answers.clear()
    Scripted.asked.clear()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, "<html>"), "The server's answer is not JSON."),
        ((502, "<html>"), "The server answered 502 Bad Gateway."),
        ((500, '{"error": {"message": ""}}'), "The server answered 500 Internal Server Error."),
        ((200, 'data: {"error": {"message": "The engine failed."}}\n\n'), "The engine failed."),
        ((200, "data: nonsense\n\n"), "The server's answer is not JSON."),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_line(
    run: Run, scripted: str, answer: tuple[int, str], says: str
) -> None:
    for request in ("GET /v1/models", "POST /v1/chat/completions"):
        Scripted.answers[request] = answer
    model = ["--model", "m"] if answer[1].startswith("data:") else []
    result = run("ask", "hi", "--endpoint", scripted, *model)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {says}")


def test_adapters_are_listed_with_the_admin_key(run: Run, server: Running) -> None:
    listed = run("adapters", "list", "--endpoint", server.url, OPENLLM_ADMIN_KEY="admin")
    assert listed.stdout == "No adapters are mounted.\n"
    assert (
        run(
            "adapters", "list", "-o", "json", "--endpoint", server.url, "--admin-key", "admin"
        ).stdout
        == "[]\n"
    )
    refused = run("adapters", "list", "--endpoint", server.url, OPENLLM_ADMIN_KEY="user")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "admin key" in refused.stderr
    missing = run(
        "adapters", "remove", "nobody", "--endpoint", server.url, OPENLLM_ADMIN_KEY="admin"
    )
    assert missing.stderr.startswith("Error: There is no adapter 'nobody'.")


def test_adapters_are_mounted_and_removed(run: Run, scripted: str) -> None:
    entry = {"id": "pirate", "object": "adapter", "parent": "demo"}
    Scripted.answers["POST /v1/adapters"] = (201, json.dumps(entry))
    Scripted.answers["GET /v1/adapters"] = (200, json.dumps({"object": "list", "data": [entry]}))
    Scripted.answers["DELETE /v1/adapters/p%2Frate"] = (200, '{"deleted": true}')
    added = run("adapters", "add", "pirate", "pirate:1f", "--model", "demo", "--endpoint", scripted)
    assert added.stdout == "Mounted pirate on demo.\n"
    assert (
        run("adapters", "list", "--endpoint", scripted).stdout == "ADAPTER  MODEL\npirate   demo\n"
    )
    assert run("adapters", "remove", "p/rate", "--endpoint", scripted).stdout == "Removed p/rate.\n"
    assert Scripted.asked == [
        ("POST", "/v1/adapters", {"name": "pirate", "source": "pirate:1f", "model": "demo"}),
        ("GET", "/v1/adapters", None),
        ("DELETE", "/v1/adapters/p%2Frate", None),
    ]


def test_prompt_shows_what_the_engine_will_read(run: Run, model: Path, tmp_path: Path) -> None:
    result = run("prompt", str(model), "Hello", "--system", "Be brief.")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "<s><|system|>Be brief.</s><|user|>Hello</s><|assistant|>\n"
    template = tmp_path / "own.jinja"
    template.write_text("[{{ messages[0].content }}]")
    assert (
        run("prompt", str(model), "Hello", "--chat-template", str(template)).stdout == "[Hello]\n"
    )


def test_prompt_of_a_directory_that_is_not_there_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("prompt", str(tmp_path / "none"), "Hello")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "There is no directory" in result.stderr
