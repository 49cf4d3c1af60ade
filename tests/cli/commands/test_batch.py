"""A file of requests, answered without a server, or by several."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.bento.models import write_echo_weights
from tests.cli.conftest import Run
from tests.serving import LONG_WAIT, Running, serve

CHAT = "/v1/chat/completions"


def request(name: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    if not body:
        body = {"messages": [{"role": "user", "content": f"hello {name}"}], "max_tokens": 4}
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def answers(path: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {line["custom_id"]: line["response"] for line in lines}
    assert len(found) == len(lines)
    return found


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_weights(tmp_path_factory.mktemp("weights") / "echo-model")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def test_every_request_is_answered(run: Run, weights: Path, tmp_path: Path, output: Path) -> None:
    asked = write(
        tmp_path / "in.jsonl",
        *(request(f"chat-{at}") for at in range(40)),
        request("plain", "/v1/completions", prompt="hello", max_tokens=3, model="gpt-5"),
        request("wrong", "/v1/completions", prompt="hello", max_tokens="many"),
    )
    options = ["--model", str(weights), "--backend", "echo", "--concurrency", "7"]
    result = run("batch", str(asked), "-o", str(output), *options)
    assert result.exit_code == 1
    assert f"42 of 42 requests are answered in {output}, 1 of them with an error." in result.stderr
    found = answers(output)
    assert len(found) == 42
    assert found["wrong"]["status_code"] == 400
    assert found["wrong"]["body"]["error"]["param"] == "max_tokens"
    assert found["plain"]["body"]["usage"]["completion_tokens"] == 3
    assert found["plain"]["request_id"] != found["wrong"]["request_id"]
    texts = {found[f"chat-{at}"]["body"]["choices"][0]["message"]["content"] for at in range(40)}
    assert all(texts)


def test_a_run_that_was_cut_off_goes_on(
    run: Run, weights: Path, tmp_path: Path, output: Path
) -> None:
    asked = write(tmp_path / "in.jsonl", *(request(name) for name in "abcd"))
    done = {"custom_id": "a", "response": {"status_code": 200, "body": "kept"}}
    fault = {"custom_id": "b", "response": {"status_code": 500, "body": "asked again"}}
    write(output, done, fault)
    with output.open("a") as file:
        file.write('{"custom_id": "c", "respo')
    options = ["--model", str(weights), "--backend", "echo"]
    result = run("batch", str(asked), "-o", str(output), *options)
    assert result.exit_code == 0, result.stderr
    assert "1 of 4 requests have their answers." in result.stderr
    found = answers(output)
    assert found.pop("a")["body"] == "kept"
    assert {name: answer["status_code"] for name, answer in found.items()} == dict.fromkeys(
        "bcd", 200
    )
    before = output.read_bytes()
    result = run("batch", str(asked), "-o", str(output), *options)
    assert (result.exit_code, output.read_bytes()) == (0, before)


def test_the_model_that_lines_name_answers(run: Run, tmp_path: Path, output: Path) -> None:
    body = {"model": "demo", "prompt": "What is a Bento?", "max_tokens": 2}
    asked = write(tmp_path / "in.jsonl", request("one", "/v1/completions", **body))
    result = run("batch", str(asked), "-o", str(output), "--backend", "echo")
    assert result.exit_code == 0, result.stderr
    assert answers(output)["one"]["body"]["model"] == "demo"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no requests."),
        (["text"], "Line 1: it is not an object."),
        ([request("a"), request("a")], "Line 2: its custom_id 'a' is that of line 1."),
        ([request("a", "/v1/images")], "Line 1: url must be one of /v1/chat/completions"),
        ([request("a", stream=True)], "Line 1: body.stream cannot be true"),
        ([request("a", model=7)], "Line 1: body.model must be a text."),
        ([request("")], "Line 1: custom_id must be a text of 1 to 512 characters."),
        ([{**request("a"), "method": "GET"}], "Line 1: method must be POST."),
        ([{**request("a"), "body": None}], "Line 1: body must be an object."),
        ([request("a")], "No line has a model. Add --model MODEL"),
        ([request("a", model="x"), request("b", model="y")], "Lines name 2 models: x, y."),
    ],
)
def test_a_file_that_cannot_be_run_is_one_line(
    run: Run, tmp_path: Path, output: Path, lines: list[Any], said: str
) -> None:
    asked = write(tmp_path / "in.jsonl", *lines)
    result = run("batch", str(asked), "-o", str(output))
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_an_output_of_another_file_is_left_alone(
    run: Run, weights: Path, tmp_path: Path, output: Path
) -> None:
    asked = write(tmp_path / "in.jsonl", request("a"))
    options = ["--model", str(weights), "--backend", "echo"]
    write(output, {"custom_id": "z", "response": {"status_code": 200}})
    before = output.read_bytes()
    result = run("batch", str(asked), "-o", str(output), *options)
    assert result.exit_code == 1
    assert "its line 1 is another's. Give another file to --output." in result.stderr
    assert output.read_bytes() == before
    result = run("batch", str(asked), "-o", str(asked), *options)
    assert "The answers would go into the file of requests." in result.stderr
    assert answers(output)["z"]


@pytest.fixture(scope="module")
def servers(weights: Path) -> Iterator[list[Running]]:
    """Two, the first of which is slow."""
    specs = [
        LLMSpec(model_id=str(weights), backend="echo", engine_args={"delay": delay})
        for delay in (0.01, 0.001)
    ]
    with serve(LLM.from_spec(specs[0])) as slow, serve(LLM.from_spec(specs[1])) as quick:
        yield [slow, quick]


def to_both(servers: list[Running]) -> list[str]:
    return [part for server in servers for part in ("--endpoint", server.url)]


def test_several_servers_answer(
    run: Run, servers: list[Running], tmp_path: Path, output: Path
) -> None:
    asked = write(tmp_path / "in.jsonl", *(request(f"chat-{at}") for at in range(60)))
    options = ["--model", "echo-model", "--concurrency", "16"]
    result = run("batch", str(asked), "-o", str(output), *options, *to_both(servers))
    assert result.exit_code == 0, result.stderr
    assert len(answers(output)) == 60
    for server in servers:
        page = server.client().get("/metrics").text
        assert 'route="/v1/chat/completions",status="200"} 0' not in page
        assert "/v1/chat/completions" in page


def test_options_of_an_engine_are_none_of_a_servers(run: Run, tmp_path: Path, output: Path) -> None:
    asked = write(tmp_path / "in.jsonl", request("a"))
    result = run(
        "batch", str(asked), "-o", str(output), "--endpoint", "http://a:1", "--backend", "echo"
    )
    assert result.exit_code == 2
    assert "leaves no engine here for backend" in result.stderr


def test_killed_at_any_line_it_goes_on(servers: list[Running], tmp_path: Path) -> None:
    """kill -9 again and again; each line is answered once in the end."""
    asked = write(tmp_path / "in.jsonl", *(request(f"chat-{at}") for at in range(120)))
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "openllm", "batch", str(asked), "-o", str(output)]
    command += ["--model", "echo-model", "--concurrency", "3", *to_both(servers)]
    for wanted in (1, 40, 80):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + LONG_WAIT * 3
            while not output.exists() or output.read_bytes().count(b"\n") < wanted:
                assert process.poll() is None, "it is over"
                assert time.monotonic() < end
                time.sleep(0.002)
            process.kill()
        left = output.read_bytes()
        output.write_bytes(left + left.splitlines()[0][: wanted * 3])  # a line cut off at any place
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(answers(output)) == 120
