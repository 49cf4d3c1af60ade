"""The engine's own process: it is seen to die, and it dies with its parent."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from openllm.config.spec import LLMSpec
from openllm.errors import EngineDead, WeightsError
from openllm.llm.llm import LLM
from openllm.remote.child import ChildBackend
from openllm.remote.probe import forget_up, has_come_up
from tests.bento.models import write_echo_weights
from tests.remote.test_backend import until

PARENT = """
import asyncio, sys
from pathlib import Path
from openllm.llm.llm import LLM
from openllm.config.spec import LLMSpec
from openllm.remote.child import ChildBackend

async def main():
    spec = LLMSpec(model_id=sys.argv[1], backend="echo")
    make = lambda spec, place: (ChildBackend(spec, place), "")
    llm = LLM.from_spec(spec, Path(sys.argv[1]), make)
    await llm.start()
    print(llm.backend.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_echo_weights(tmp_path_factory.mktemp("process") / "parrot")


def in_child(weights: Path, **spec: object) -> LLM:
    wanted = LLMSpec(model_id=str(weights), backend="echo", engine_args={"delay": 0.01}, **spec)  # type: ignore[arg-type]
    return LLM.from_spec(wanted, weights, lambda spec, place: (ChildBackend(spec, place), "a test"))


@pytest_asyncio.fixture
async def llm(weights: Path) -> AsyncIterator[LLM]:
    async with in_child(weights) as found:
        yield found


def child_of(llm: LLM) -> psutil.Process:
    assert isinstance(llm.backend, ChildBackend)
    return psutil.Process(llm.backend.pid)


async def test_its_death_ends_what_runs_and_is_the_failure(llm: LLM) -> None:
    task = asyncio.create_task(llm.generate("hello", max_tokens=400, ignore_eos=True))
    async with asyncio.timeout(10):
        while not llm.stats().running:  # noqa: ASYNC110  an engine has no event for it
            await asyncio.sleep(0.01)
    child_of(llm).send_signal(signal.SIGKILL)
    with pytest.raises(EngineDead, match="process has ended"):
        await asyncio.wait_for(task, 5)
    assert llm.failure


async def test_whoever_has_started_it_knows_that_it_was_up(llm: LLM) -> None:
    assert isinstance(llm.backend, ChildBackend)
    address = llm.backend.address
    await until(lambda: has_come_up(address))
    forget_up(address)
    assert not has_come_up(address)


async def test_the_reason_is_that_of_the_process_that_chose(llm: LLM) -> None:
    assert llm.backend_reason == "Backend echo: it was asked for."
    await llm.aclose()
    assert llm.backend_reason == "a test"


async def test_a_terminals_interrupt_is_not_for_it(llm: LLM) -> None:
    child_of(llm).send_signal(signal.SIGINT)
    assert (await llm.generate("hello")).text == "hello"


async def test_closing_ends_it(llm: LLM) -> None:
    child = child_of(llm)
    await llm.aclose()
    assert not child.is_running()


@pytest.fixture
def broken(weights: Path) -> Iterator[Path]:
    """The model without its configuration: enough for the tokenizer here, too little for the engine
    there.
    """
    config = weights / "config.json"
    config.rename(weights / "away")
    yield weights
    (weights / "away").rename(config)


async def test_what_keeps_it_from_starting_is_raised_here(broken: Path) -> None:
    llm = in_child(broken)
    with pytest.raises(WeightsError):
        await llm.start()
    await llm.aclose()


def test_it_ends_when_its_parent_is_killed(weights: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(weights)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        end = time.monotonic() + 30
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "it goes on without its parent"
            time.sleep(0.1)
