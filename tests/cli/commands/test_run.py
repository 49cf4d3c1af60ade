"""A chat from the command line: with a server that runs, or one of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from openllm.cli import cli
from openllm.config.servers import running_servers
from openllm.config.settings import Settings
from tests.serving import Running


@pytest.mark.parametrize("name", ["run", "chat"])
def test_a_pipe_is_one_question(
    environment: dict[str, str], chat_server: Running, name: str
) -> None:
    args = [name, chat_server.url, "--api-key", "user", "--system", "be brief"]
    result = CliRunner().invoke(cli, args, input="hello\nworld\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "hello\nworld" in result.stdout


def test_an_endpoint_may_be_given_with_a_model_of_it(
    environment: dict[str, str], chat_server: Running
) -> None:
    args = ["run", "nobody", "--endpoint", chat_server.url, "--api-key", "user"]
    result = CliRunner().invoke(cli, args, input="hi")
    assert (result.exit_code, result.stdout.strip()) == (1, "")
    assert "nobody" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("http://127.0.0.1:9",), 1, "No server answers at http://127.0.0.1:9."),
        (("demo", "--max-model-len", "x"), 2, "max-model-len"),
        (("./nowhere",), 1, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(
    environment: dict[str, str], args: tuple[str, ...], code: int, says: str
) -> None:
    result = CliRunner().invoke(cli, ["run", *args], input="hi")
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_on_standard_input_is_wrong_input(environment: dict[str, str]) -> None:
    result = CliRunner().invoke(cli, ["run", "demo"], input=" \n")
    assert result.exit_code == 2
    assert "no question" in result.stderr


def test_a_model_is_started_for_the_chat_and_stopped_with_it(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "openllm", "run", "demo", "--backend", "echo"]
    ran = subprocess.run(
        command, input="hello world", capture_output=True, text=True, env=environment, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "hello world" in ran.stdout
    assert running_servers(Settings.from_env().bentoml_home) == []
