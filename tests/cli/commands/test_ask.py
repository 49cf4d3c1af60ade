"""A question to a running server, and its answer."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.serving import Running


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
def test_ask_prints_the_answer(run: Run, chat_server: Running, stream: str) -> None:
    result = run(
        "ask", "hello world", "--endpoint", chat_server.url, stream, OPENLLM_API_KEY="user"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "hello world" in result.stdout
    assert result.stdout.endswith("\n")


def test_ask_takes_its_options_into_the_request(run: Run, chat_server: Running) -> None:
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
    short = run("ask", "hello world", *args, OPENLLM_ENDPOINT=chat_server.url)
    whole = run(
        "ask", "hello world", *args[4:], "--max-tokens", "400", OPENLLM_ENDPOINT=chat_server.url
    )
    assert (short.exit_code, whole.exit_code) == (0, 0)
    assert len(short.stdout) < len(whole.stdout)
