"""`openllm bench` against a server that answers a token every few milliseconds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.cli.conftest import Run
from tests.cli.servers import Scripted
from tests.serving import LONG_WAIT, Running, serve

DELAY = 0.01  # seconds for a token
KEY = {"OPENLLM_API_KEY": "user"}
SHORT = ("--prompt-tokens", "8", "--answer-tokens", "6")


@pytest.fixture(scope="module")
def paced(chat_model: Path) -> Iterator[Running]:
    spec = LLMSpec(
        model_id=str(chat_model), name="paced", backend="echo", engine_args={"delay": DELAY}
    )
    with serve(LLM.from_spec(spec, chat_model)) as running:
        yield running


def figures(text: str) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = json.loads(text)["levels"]
    return levels


def test_a_closed_loop(run: Run, paced: Running, tmp_path: Path) -> None:
    saved, svg, png = tmp_path / "a.json", tmp_path / "a.svg", tmp_path / "a.png"
    result = run(
        *("bench", paced.url, *SHORT, "--streams", "1,4", "--requests", "8"),
        *("--goodput", "ttft=5000", "--goodput", "e2e:0.001", "--save", str(saved)),
        *("--plot", str(svg), "--plot", str(png)),
    )
    assert result.exit_code == 0, result.stderr
    head, one, four = result.stdout.splitlines()
    assert head.split()[:3] == ["STREAMS", "REQUESTS", "TOKENS/S"]
    assert (one.split()[:2], four.split()[:2]) == (["1", "8"], ["4", "8"])
    single, several = figures(saved.read_text())
    for level in (single, several):
        assert (level["completed"], level["errors"]) == (8, {})
        assert (level["prompt_tokens"], level["output_tokens"]) == (64, 48)
        assert level["itl_ms"]["p50"] >= 1000 * DELAY * 0.9
        assert level["good_share"] == 0.0  # no answer takes a microsecond
        assert level["generator_busy"] < 1
    assert several["output_tokens_per_second"] > 1.5 * single["output_tokens_per_second"]
    shapes = ElementTree.fromstring(svg.read_text())
    titles = [shape.text or "" for shape in shapes if shape.tag.endswith("text")]
    assert "tokens/s" in titles
    assert png.read_bytes().startswith(b"\x89PNG")


def test_an_open_loop_of_chats(run: Run, paced: Running) -> None:
    args = ["--rate", "200", "--requests", "20", "--burstiness", "2", "--chat", "--processes", "2"]
    result = run("bench", *SHORT, *args, "-o", "json", OPENLLM_ENDPOINT=f"{paced.url}/v1")
    assert result.exit_code == 0, result.stderr
    (level,) = figures(result.stdout)
    assert (level["rate"], level["completed"], level["output_tokens"]) == (200.0, 20, 120)
    assert level["seconds"] >= 19 / 200
    assert level["goodput"] is None


def test_prompts_of_a_file(run: Run, paced: Running, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "hello world", "max_tokens": 2}\nhello\n')
    args = ["--prompts", str(path), "--answer-tokens", "3", "--streams", "2", "--requests", "4"]
    result = run("bench", paced.url, *args, "-o", "json")
    assert figures(result.stdout)[0]["output_tokens"] == 2 * 2 + 2 * 3
    path.write_text("{}")
    refused = run("bench", paced.url, *args)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{path}:1: there is no prompt." in refused.stderr


def test_errors_are_counted_and_said(run: Run, paced: Running) -> None:
    args = [*SHORT, "--streams", "2", "--requests", "4", "--model", "nobody"]
    result = run("bench", paced.url, *args, "-o", "json")
    assert result.exit_code == 1
    (errors,) = [level["errors"] for level in figures(result.stdout)]
    assert list(errors.values()) == [4]
    assert "No request was answered at 2:" in result.stderr
    assert "nobody" in result.stderr


def test_no_server_and_a_wrong_key_are_a_line(run: Run, chat_server: Running) -> None:
    nobody = run("bench", "http://127.0.0.1:9")
    assert nobody.exit_code == 1
    assert nobody.stderr.startswith("Error: No server answers at http://127.0.0.1:9.")
    assert run("bench", chat_server.url).exit_code == 1
    result = run("bench", chat_server.url, *SHORT, "--streams", "1", "--requests", "1", **KEY)
    assert result.exit_code == 0, result.stderr


def test_what_is_no_openllm_server_does(run: Run, scripted: str) -> None:
    """It has no /tokenize and no /metrics, and does not count tokens."""
    events = ['{"choices": [{"text": "a"}]}', '{"choices": [{"text": "b"}]}', "[DONE]"]
    stream = "".join(f"data: {event}\n\n" for event in events)
    Scripted.answers["GET /v1/models"] = (200, '{"data": [{"id": "m"}]}')
    Scripted.answers["POST /v1/completions"] = (200, stream)
    for missing in ("GET /readyz", "GET /metrics", "POST /tokenize"):
        Scripted.answers[missing] = (404, "")
    args = [*SHORT, "--streams", "1", "--requests", "2", "--no-ignore-eos"]
    result = run("bench", scripted, *args, "-o", "json")
    assert result.exit_code == 0, result.stderr
    (level,) = figures(result.stdout)
    assert (level["completed"], level["output_tokens"]) == (2, 4)
    body = [body for _, path, body in Scripted.asked if path == "/v1/completions"][-1]
    assert len(body["prompt"].split()) == 8
    assert "ignore_eos" not in body


def test_two_runs_are_compared(run: Run, paced: Running, tmp_path: Path) -> None:
    first, other = tmp_path / "first.json", tmp_path / "other.json"
    args = ("bench", paced.url, *SHORT, "--streams", "1", "--requests", "2")
    assert run(*args, "--save", str(first)).exit_code == 0
    faster = json.loads(first.read_text())
    faster["levels"][0]["output_tokens_per_second"] *= 1.5
    faster["levels"][0]["ttft_ms"]["p50"] *= 2
    other.write_text(json.dumps(faster))
    svg = tmp_path / "both.svg"
    table = run("bench", "--compare", str(first), str(other), "--plot", str(svg))
    assert (table.exit_code, table.stderr) == (0, f"Drawn: {svg}.\n")
    assert run("bench", "-q", "--compare", str(first), str(other), "--plot", str(svg)).stderr == ""
    rows = [line.split() for line in table.stdout.splitlines()]
    assert [row[-2:] for row in rows if row[1] == "tokens/s"] == [["+50.0%", "better"]]
    assert [row[-2:] for row in rows if row[1:3] == ["TTFT", "p50"]] == [["+100.0%", "worse"]]
    assert "first: paced" in svg.read_text()
    as_json = json.loads(run("bench", "--compare", str(first), str(other), "-o", "json").stdout)
    assert as_json[0]["change"] == pytest.approx(0.5)
    other.write_text("{}")
    refused = run("bench", "--compare", str(first), str(other))
    assert refused.exit_code == 2
    assert f"{other} is no run of a benchmark" in refused.stderr


@pytest.mark.parametrize(("option", "name"), [("--save", "a.json"), ("--plot", "a.svg")])
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    run: Run, tmp_path: Path, option: str, name: str
) -> None:
    path = tmp_path / "nowhere" / name
    refused = run("bench", "http://127.0.0.1:9", option, str(path))  # no server: none is asked
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"{path} cannot be written: its directory is not there." in refused.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_run_that_cannot_be_saved_is_printed(run: Run, paced: Running, tmp_path: Path) -> None:
    path = tmp_path / "full.json"
    path.symlink_to("/dev/full")
    args = ("bench", paced.url, *SHORT, "--streams", "1", "--requests", "1", "-o", "json")
    result = run(*args, "--save", str(path))
    assert result.exit_code == 2
    assert figures(result.stdout)[0]["completed"] == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {path} cannot be written: No space")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--streams", "none"), "'none' is no list of streams. Write 8, or 1,4,16, or 1-16."),
        (("--goodput", "tpt=5"), "'tpt=5' is no limit. Write ttft=500"),
        (("--plot", "a.pdf"), "a.pdf is neither an SVG nor a PNG."),
        (("--prompt-tokens", "4", "--prefix-tokens", "5"), "Give at most 4 of them."),
    ],
)
def test_what_follows_from_options_is_refused_first(
    run: Run, args: tuple[str, ...], said: str
) -> None:
    result = run("bench", "http://127.0.0.1:9", *args)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.fixture(
    params=[
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ndata: {", "broke off before its end"),
        (b"SSH-2.0-OpenSSH\r\n", "What came is not HTTP."),
        (None, "No end within 0.2 s."),
    ],
    ids=["cut", "no HTTP", "silent"],
)
def broken(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URL of a server that names a model and then answers like this, and what is said of it."""
    answer, said = request.param
    over = threading.Event()

    class Broken(Scripted):
        def do_POST(self) -> None:  # noqa: N802  the base class wants this name
            if self.path != "/v1/completions":
                self.send_error(404)
            elif answer is None:
                over.wait(LONG_WAIT)
            else:
                self.wfile.write(answer)
                self.close_connection = True

    Scripted.answers["GET /v1/models"] = (200, '{"data": [{"id": "m"}]}')
    for missing in ("GET /readyz", "GET /metrics"):
        Scripted.answers[missing] = (404, "")
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", said
        over.set()
        httpd.shutdown()
        thread.join()
    Scripted.answers.clear()


def test_a_broken_answer_is_an_error_of_its_request(run: Run, broken: tuple[str, str]) -> None:
    url, said = broken
    args = ["--streams", "1", "--requests", "2", "--warmup", "0", "--timeout", "0.2"]
    result = run("bench", url, *SHORT, *args, "-o", "json")
    assert result.exit_code == 1
    (errors,) = [level["errors"] for level in figures(result.stdout)]
    ((error, times),) = errors.items()
    assert (said in error, times) == (True, 2)
