"""The way of a request that docs/structure.md tells is the one that a request takes."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "structure.md").read_text()
SECTION = PAGE.partition("## The way of a request\n")[2].partition("\n## ")[0]
STEPS = [
    re.findall(r"`(openllm\.[\w.<>]+)`", step)
    for step in re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$)", SECTION, re.MULTILINE | re.DOTALL)
]
NAMES = [name for step in STEPS for name in step]
FIRST, LAST = map(int, re.findall(r"Steps (\d+) to (\d+) are one stack of calls", SECTION)[0])
TOKENS = 6


class Calls:
    """Calls of functions of openllm, as they come; a coroutine that goes on is none."""

    def __init__(self, names: list[str]) -> None:
        self.names: list[str] = []
        self.stacks: list[list[str]] = []  # of each call: who called it, from the outermost on
        self._ends = {name.rpartition(".")[2] for name in names}
        self._wanted = set(names)
        self._frames: set[FrameType] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or frame.f_code.co_name not in self._ends or frame in self._frames:
            return
        name = name_of(frame)
        if name in self._wanted:
            self._frames.add(frame)
            self.names.append(name)
            self.stacks.append([name_of(caller) for caller in callers(frame)])


def name_of(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"


def callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def functions(code: CodeType) -> Iterator[str]:
    """The qualified names of all functions in a module's code."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner.co_qualname
            yield from functions(inner)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """Those of one streamed chat request, in all threads of the server."""
    model = write_echo_model(tmp_path_factory.mktemp("way") / "echo-model")
    calls = Calls(NAMES)
    question = {"role": "user", "content": "hello world, how do I build it?"}
    body = {"messages": [question], "stream": True, "max_tokens": TOKENS}
    with serve(echo_llm(model)) as running, running.client() as client:
        running.run(watch(calls))
        answer = client.post("/v1/chat/completions", json=body)
        running.run(watch(None))
    assert answer.text.endswith("data: [DONE]\n\n")
    return calls


async def watch(calls: Calls | None) -> None:
    """Let `calls` see what this thread, and those that begin from now on, call; None: nobody."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
    threading.setprofile(calls)
    sys.setprofile(calls)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_on_the_way_exists(name: str) -> None:
    parts = name.split(".")
    files = [ROOT.joinpath(*parts[:size]).with_suffix(".py") for size in range(len(parts), 0, -1)]
    path = next(path for path in files if path.exists())
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found = set(functions(compile(path.read_text(), str(path), "exec")))
    assert name.removeprefix(f"{module}.") in found


def test_the_functions_are_called_in_that_order(calls: Calls) -> None:
    left = iter(calls.names)
    assert [name for name in NAMES if name not in left] == []


def test_a_token_takes_its_way_in_one_stack_of_calls(calls: Calls) -> None:
    (engine,), *others = STEPS[FIRST - 1 : LAST]
    assert calls.names.count(engine) == TOKENS
    inside = {name for step in others for name in step}
    assert inside <= set(calls.names)
    for name, stack in zip(calls.names, calls.stacks, strict=True):
        assert name not in inside or engine in stack
