"""Vercel's AI SDK over each of the interfaces that it speaks, in a process of Node each time."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.frameworks import HOME
from tests.clients.servers import Writer

SCRIPT = Path(__file__).with_name("ask.mjs")
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (HOME / "node_modules" / "ai").exists(),
    reason="needs Node.js and npm (apt-get install npm), then `make -B install-frameworks`",
)
WAYS = ("responses", "chat", "compatible")
SUNNY = {"city": "Rome", "weather": "sunny"}


def call(city: str) -> str:
    told = json.dumps({"name": "weather", "arguments": {"city": city}})
    return f"<tool_call>\n{told}\n</tool_call>"


def ask(url: str, way: str, case: str, model: str = "demo") -> Any:
    """What the SDK made of it."""
    done = subprocess.run(
        ["node", "--input-type=module", "-", url, way, model, case],
        input=SCRIPT.read_text(),
        cwd=HOME,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_is_the_whole_answer(demo: str, way: str) -> None:
    whole, streamed = ask(demo, way, "text"), ask(demo, way, "stream")
    assert whole["text"] == streamed["text"] != ""
    assert whole["finish"] == streamed["finish"] == "stop"
    assert whole["usage"]["outputTokens"] == streamed["usage"]["outputTokens"] > 0
    assert streamed["kinds"].count("text-delta") > 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ["required", "named"])
def test_a_tool_is_called(demo: str, way: str, case: str) -> None:
    answer = ask(demo, way, case)
    ((name, arguments),) = answer["calls"]
    assert name == "weather"
    assert arguments["city"] in ("Rome", "Oslo")
    assert answer["results"] == [{**arguments, "weather": "sunny"}]
    assert answer["finish"] == "tool-calls"


@pytest.mark.parametrize("way", WAYS)
def test_an_object_and_vectors(demo: str, way: str) -> None:
    assert ask(demo, way, "object")["mood"] in ("good", "bad")
    assert ask(demo, way, "vectors") == [256, 256]


@pytest.mark.parametrize("way", WAYS)
def test_an_error_is_its_own(demo: str, way: str) -> None:
    error = ask(demo, way, "text", "nobody")
    assert (error["status"], error["retry"]) == (404, False)
    assert "The model 'nobody' does not exist" in error["message"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ["loop", "streamedLoop"])
def test_ten_turns_of_a_loop_with_tools(writer: Writer, way: str, case: str) -> None:
    turns = [f"<think>Turn {at}.</think>I look.\n{call('Rome')}\n{call('Oslo')}" for at in range(9)]
    writer.write([*turns, "<think>Done.</think>It is sunny."])
    answer = ask(writer.url, way, case, "scripted")
    assert answer["steps"] == 10
    assert [arguments["city"] for _, arguments in answer["calls"]] == ["Rome", "Oslo"] * 9
    assert answer["results"][:2] == [SUNNY, {**SUNNY, "city": "Oslo"}]
    assert (answer["text"], answer["finish"]) == ("It is sunny.", "stop")
    # OpenAI's own providers read a thought's summary alone, which is never made here
    assert answer.get("reasoning") == ("Done." if way == "compatible" else None)
