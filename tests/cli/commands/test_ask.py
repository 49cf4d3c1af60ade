"""A question to a running server, and its answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from openllm.cli import cli
from tests.cli.conftest import Run
from tests.cli.servers import Scripted
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


def test_a_question_comes_from_standard_input(
    environment: dict[str, str], chat_server: Running
) -> None:
    args = ["ask", "-", "--endpoint", chat_server.url, "--api-key", "user"]
    result = CliRunner().invoke(cli, args, input="hello world\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "hello world" in result.stdout


@pytest.mark.parametrize("args", [(), ("-",)])
def test_no_question_is_wrong_input(run: Run, args: tuple[str, ...]) -> None:
    result = run("ask", *args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Missing argument 'QUESTION'.")


def test_json_is_the_servers_answer(run: Run, chat_server: Running) -> None:
    args = ["-o", "json", "--endpoint", f"{chat_server.url}/v1", "--api-key", "user"]
    answer = json.loads(run("ask", "hello world", *args).stdout)
    assert "hello world" in answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens"] > 0


def test_images_and_a_schema_go_into_the_request(run: Run, scripted: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    (tmp_path / "s.json").write_text('{"type": "object"}')
    message = {"choices": [{"message": {"content": "{}"}}]}
    Scripted.answers["POST /v1/chat/completions"] = (200, json.dumps(message))
    files = ["--image", str(tmp_path / "a.png"), "--json-schema", str(tmp_path / "s.json")]
    args = [*files, "--model", "m", "--no-stream"]
    result = run("ask", "what?", *args, "--endpoint", scripted)
    assert (result.exit_code, result.stdout) == (0, "{}\n")
    body = Scripted.asked[0][2]
    image, text = body["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,cG5n"
    assert text == {"type": "text", "text": "what?"}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    ("option", "name", "content", "says"),
    [
        ("--image", "a.txt", b"", "is no image by its name"),
        ("--json-schema", "s.json", b"{", "is not JSON"),
        ("--json-schema", "s.json", b"\xff", "is not UTF-8 text"),
        ("--json-schema", "s.json", b"[]", "is no JSON schema"),
    ],
)
def test_a_file_that_cannot_be_is_wrong_input(
    run: Run, tmp_path: Path, option: str, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = run("ask", "hi", option, str(tmp_path / name))
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
