"""Runners in real `bentoml serve` processes: as dependencies over our transport, and in BentoML's
own runner server.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests.bento.conftest import STOP_WAIT, ServerProcess, running
from tests.bento.models import write_echo_weights
from tests.tiny import write_adapter, write_llama

PROJECTS = Path(__file__).parents[1] / "projects"
TEXT = "the engine reads token ids"
Call = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runners")


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    model = write_llama(place / "tiny")
    return {
        "ECHO_MODEL": str(write_echo_weights(place / "parrot")),
        "TINY_MODEL": str(model),
        "TINY_ADAPTER": str(write_adapter(place / "adapter", model)),
        "BENTOML_HOME": str(place / "home"),
    }


@pytest.fixture(scope="module")
def expected(environment: dict[str, str]) -> dict[str | None, str]:
    """What the tiny model says in this process, by adapter."""
    adapters = [f"{environment['TINY_ADAPTER']}:pirate"]
    spec = LLMSpec(model_id=environment["TINY_MODEL"], backend="pytorch", adapters=adapters)
    with LLM.from_spec(spec) as llm:

        def say(adapter: str | None) -> str:
            work = llm.generate(
                TEXT, adapter_name=adapter, temperature=0, max_tokens=8, ignore_eos=True
            )
            return llm.run(work).text

        return {name: say(name) for name in (None, "pirate")}


@pytest.fixture(scope="module", params=["depending:Both", "legacy:svc"])
def server(
    request: pytest.FixtureRequest, place: Path, environment: dict[str, str]
) -> Iterator[ServerProcess]:
    target: str = request.param
    folder = place / target.partition(":")[0]
    folder.mkdir()
    shutil.copy(PROJECTS / f"{folder.name}.py", folder)
    command = ["bentoml", "serve", target, "--host", "127.0.0.1"]
    with running(command, folder / "log", **environment) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def call(server: ServerProcess) -> Call:
    """Calls an API with named arguments: both kinds of service take them as a JSON object."""

    def post(name: str, **arguments: Any) -> httpx.Response:
        answer = httpx.post(f"{server.url}/{name}", json=arguments, timeout=STOP_WAIT)
        assert answer.status_code == 200, answer.text + server.text()
        return answer

    return post


def test_ready_says_that_the_engines_are_up(call: Call) -> None:
    """Nobody has asked anything yet."""
    assert call("started").json() == [True, True]


def test_whole_answers_of_both_engines(call: Call, expected: dict[str | None, str]) -> None:
    assert call("whole", model="parrot", text="the engine").text.startswith("the engine")
    assert call("whole", model="tiny", text=TEXT).text == expected[None]


def test_the_adapter_is_chosen_by_the_request(call: Call, expected: dict[str | None, str]) -> None:
    assert expected["pirate"] != expected[None]
    assert call("whole", model="tiny", text=TEXT, adapter="pirate").text == expected["pirate"]


def test_streams_come_in_pieces(server: ServerProcess, expected: dict[str | None, str]) -> None:
    pieces = list(stream(server, model="parrot", text="hello there my friend", max_tokens=16))
    assert len(pieces) > 2
    assert "".join(stream(server, model="tiny", text=TEXT)) == expected[None]


def test_a_synchronous_api_streams_too(call: Call, expected: dict[str | None, str]) -> None:
    assert call("plainly", model="tiny", text=TEXT).text == expected[None]
    assert call("whole", model="tiny", text=TEXT).text == expected[None]


def test_leaving_a_stream_cancels_it(server: ServerProcess, call: Call) -> None:
    pieces = stream(
        server, model="parrot", text="hello there", max_tokens=400
    )  # eight seconds of it
    next(pieces)
    _wait_for(call, 1)
    pieces.close()  # type: ignore[attr-defined]  # a generator
    _wait_for(call, 0)


def _wait_for(call: Call, running: int) -> None:
    """Engines in processes of their own report a little later what runs; the stream itself would
    take eight seconds.
    """
    end = time.monotonic() + 5
    while call("running").json() != running:
        assert time.monotonic() < end, f"not {running} running"
        time.sleep(0.1)


def test_embeddings(call: Call) -> None:
    first, second, third = call("embed", texts=["one", "two", "one"]).json()
    assert first == third != second
    assert sum(value * value for value in first) == pytest.approx(1)


def test_a_wrong_text_in_a_batch_harms_nobody_else(server: ServerProcess) -> None:
    """BentoML joins what callers send at the same time."""

    def embed(text: str) -> int:
        return httpx.post(
            f"{server.url}/embed", json={"texts": [text]}, timeout=STOP_WAIT
        ).status_code

    texts = ["good", "too long " * 2000] * 12
    with ThreadPoolExecutor(len(texts)) as pool:
        codes = list(pool.map(embed, texts))
    assert codes[::2] == [200] * 12, server.text()
    assert 200 not in codes[1::2]


def test_no_port_but_the_services_own(server: ServerProcess) -> None:
    assert server.listening_ports() == {server.port}


def test_an_engine_that_was_killed_comes_back(server: ServerProcess, call: Call) -> None:
    """And /readyz says so meanwhile. BentoML starts its process again."""
    _engine(server).kill()
    end = time.monotonic() + STOP_WAIT
    while server.status("/readyz") == 200:
        assert time.monotonic() < end, "nobody has noticed"
        time.sleep(0.05)
    server.wait_ready()
    assert call("whole", model="parrot", text="hello there").text == "hello there"


def _engine(server: ServerProcess) -> psutil.Process:
    """The process in which the parrot is."""
    (found,) = (
        member for member in server.family() if {"parrot_engine", "parrot"} & set(member.cmdline())
    )
    return found


def stream(server: ServerProcess, **arguments: Any) -> Iterator[str]:
    with httpx.stream("POST", f"{server.url}/along", json=arguments, timeout=STOP_WAIT) as answer:
        assert answer.status_code == 200
        yield from answer.iter_text()
