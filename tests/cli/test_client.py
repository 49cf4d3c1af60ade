"""Commands that talk to a server: whatever fails is one line."""

from __future__ import annotations

import socket

import pytest

from tests.cli.conftest import Run
from tests.cli.servers import Scripted
from tests.serving import Running


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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
    run: Run, chat_server: Running, stream: str, args: tuple[str, ...], key: str, says: str
) -> None:
    variables = {"OPENLLM_API_KEY": key} if key else {}
    result = run("ask", "hi", "--endpoint", chat_server.url, stream, *args, **variables)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [("ask", "hi"), ("adapters", "list")])
def test_no_server_is_one_line_that_says_how_to_start_one(run: Run, args: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{_closed_port()}"
    result = run(*args, "--endpoint", url)
    assert result.exit_code == 1
    assert result.stderr == f"Error: No server answers at {url}. Start one: openllm start.\n"


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
