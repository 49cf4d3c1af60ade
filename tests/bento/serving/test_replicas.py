"""Replicas behind one port: one is killed under load, all are started anew one by one, and all end
together.
"""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import psutil
import pytest

from openllm.bento.serving import engines
from openllm.bento.serving.engines import Due, EnginePlace, Engines, RolledOn, plan_lines
from openllm.bento.serving.processes import Ended
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
from openllm.remote.probe import say_up
from tests.bento.conftest import STOP_WAIT, ServerProcess, running
from tests.bento.serving.test_supervisor import Dead, recipe

REPLICAS = 2
STREAMS = 8


def engines_of(server: ServerProcess) -> list[psutil.Process]:
    """The replicas' processes, in their order."""
    found = []
    for one in server.family():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie's error, too
            if "openllm.remote" in one.cmdline():
                found.append(one)
    return sorted(found, key=lambda one: one.pid)


def figures(server: ServerProcess, name: str) -> list[float]:
    """One figure of each replica."""
    page = httpx.get(f"{server.url}/metrics", timeout=STOP_WAIT).raise_for_status().text
    pattern = rf'^openllm_replica_{name}{{model="parrot",replica="\d"}} ([0-9.]+)$'
    return [float(value) for value in re.findall(pattern, page, re.MULTILINE)]


def wait_until(condition: Callable[[], bool], server: ServerProcess) -> None:
    end = time.monotonic() + STOP_WAIT
    while not condition():
        assert time.monotonic() < end, server.text()[-4000:]
        time.sleep(0.05)


@attrs.define
class Load:
    """Streams, one after the other on each of several threads; how they ended."""

    url: str
    ends: list[str] = attrs.field(factory=list)
    over: threading.Event = attrs.field(factory=threading.Event)
    threads: list[threading.Thread] = attrs.field(factory=list)

    def begin(self) -> None:
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def end(self) -> Counter[str]:
        """How they ended, once all that had begun have."""
        self.over.set()
        for thread in self.threads:
            thread.join(STOP_WAIT)
        return Counter(self.ends)

    def _run(self) -> None:
        body = {"prompt": "hello", "max_tokens": 40, "ignore_eos": True, "stream": True}
        with httpx.Client(base_url=self.url, timeout=STOP_WAIT) as client:
            while not self.over.is_set():
                try:
                    self.ends.append(self._end(client, body))
                except httpx.TransportError:
                    self.ends.append("cut off")

    def _end(self, client: httpx.Client, body: dict[str, Any]) -> str:
        """How one stream ended."""
        with client.stream("POST", "/v1/completions", json=body) as answer:
            lines = [line for line in answer.iter_lines() if line]
            again = answer.headers.get("retry-after")
        if answer.status_code != 200:
            return f"{answer.status_code} after {again}"
        return "lost" if '"replica_lost"' in lines[-1] else lines[-1]


@pytest.fixture
def server(echo_model: Path, home: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    spec = {"model_id": str(echo_model), "backend": "echo", "engine_args": {"delay": 0.02}}
    path = recipe(tmp_path / "two.yaml", {**spec, "name": "parrot", "replicas": REPLICAS})
    with running(["openllm", "start", "-f", str(path)], tmp_path / "log") as process:
        process.wait_ready()
        yield process


def test_their_life(server: ServerProcess) -> None:
    assert len(server.family()) == 1 + 1 + REPLICAS  # the supervisor, the worker, the engines
    assert "parrot: 2 replicas" in server.text()
    load = Load(server.url)
    load.begin()
    both_work(server)
    one_is_killed(server)
    assert server.status("/readyz") == 200
    all_are_started_anew(server)
    found = load.end()
    assert 0 < found.pop("lost") <= STREAMS // REPLICAS
    assert found.keys() == {"data: [DONE]"}, server.text()[-4000:]
    ends_when_its_streams_have(server)


def both_work(server: ServerProcess) -> None:
    half = STREAMS / REPLICAS
    wait_until(lambda: figures(server, "requests_running") == [half] * REPLICAS, server)
    assert figures(server, "up") == [1.0] * REPLICAS


def one_is_killed(server: ServerProcess) -> None:
    engines_of(server)[0].kill()
    wait_until(lambda: sum(figures(server, "up")) < REPLICAS, server)
    wait_until(lambda: sum(figures(server, "up")) == REPLICAS, server)


def all_are_started_anew(server: ServerProcess) -> None:
    before = {engine.pid for engine in engines_of(server)}
    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: len({one.pid for one in engines_of(server)} - before) == REPLICAS, server)
    wait_until(lambda: sum(figures(server, "up")) == REPLICAS, server)


def ends_when_its_streams_have(server: ServerProcess) -> None:
    load = Load(server.url)
    load.begin()
    wait_until(lambda: sum(figures(server, "requests_running")) == STREAMS, server)
    load.over.set()
    server.send(signal.SIGTERM)
    assert load.end() == {"data: [DONE]": STREAMS}
    assert server.wait() == 0
    assert "Traceback" not in server.text()


def test_replicas_that_all_end_at_their_start_are_given_up(tmp_path: Path) -> None:
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    spec = LLMSpec(model_id="./parrot", backend="echo", replicas=2)
    found = Engines([spec], [["a", "b"]], Settings(), events)
    for _ in range(4):
        for engine in found.all:
            assert end(found, engine)
    assert end(found, found.all[0])
    with pytest.raises(ServeError, match=r"Replica 2 of 2 of parrot .* as all replicas do"):
        end(found, found.all[1])
    assert not found.ended(Ended("An API worker", Dead(), 1))


def end(found: Engines, engine: EnginePlace) -> bool:
    """Let `engine` have begun and ended."""
    engine.child = Dead()
    return found.ended(Ended(engine.name, engine.child, 1))


def test_only_ends_before_it_was_up_make_the_pause_longer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However long it has loaded."""
    spec = LLMSpec(model_id="./parrot", backend="echo", replicas=2)
    places = [[str(tmp_path / name) for name in ("0.engine", "1.engine")]]
    found = Engines([spec], places, Settings(), queue.SimpleQueue())
    engine = found.all[0]
    for seconds in ("0.2", "0.4", "0.8"):
        assert end(found, engine)
        assert f"started again in {seconds} s" in caplog.messages[-1]
    say_up(engine.address)
    for _ in range(2):
        assert end(found, engine)
        assert "started again in 0.2 s" in caplog.messages[-1]


@attrs.define(eq=False)
class Process:
    """Stands in for an engine's process: it lives until it is asked to end."""

    asked: threading.Event = attrs.field(factory=threading.Event)
    pid: int = 1

    def wait(self) -> int:
        self.asked.wait(STOP_WAIT)
        return 0

    def terminate(self) -> None:
        self.asked.set()

    def stop(self, seconds: float = 0.0) -> int:
        return 0


@attrs.define
class Rolling:
    """Three replicas, and what stands in for their processes, in the order of their beginning."""

    engines: Engines
    events: queue.SimpleQueue[object]
    processes: list[Process]

    def next_event(self) -> object:
        """The next one, once it is seen to."""
        event = self.events.get(timeout=STOP_WAIT)
        match event:
            case Ended():
                assert self.engines.ended(event)
            case Due():
                self.engines.again(event)
            case RolledOn():
                self.engines.rolled_on(event)
        return event

    def until_rolled_on(self) -> RolledOn:
        while not isinstance(event := self.next_event(), RolledOn):
            pass
        return event


@pytest.fixture
def rolling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rolling]:
    processes: list[Process] = []

    def begin(*_: object) -> Process:
        processes.append(Process())
        return processes[-1]

    monkeypatch.setattr(engines, "EngineProcess", begin)
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    spec = LLMSpec(model_id="./parrot", backend="echo", replicas=3)
    found = Engines([spec], [["a", "b", "c"]], Settings(), events)
    found.start()
    yield Rolling(found, events, processes)
    for process in processes:
        process.terminate()


def test_one_that_does_not_come_up_ends_the_roll(
    rolling: Rolling, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str | None] = [None, "There is no room."]
    monkeypatch.setattr(engines, "wait_up", lambda address, seconds: answers.pop(0))
    rolling.engines.roll()
    assert rolling.until_rolled_on().engine.number == 0
    assert rolling.until_rolled_on().engine.number == 1
    assert [one.asked.is_set() for one in rolling.processes] == [True, True, False, False, False]
    assert "Replica 2 of 3 of parrot has not come up: There is no room. The other" in caplog.text
    answers += [None] * 3
    rolling.engines.roll()
    assert [rolling.until_rolled_on().engine.number for _ in range(3)] == [0, 1, 2]


def test_the_plan_is_said_where_there_are_replicas() -> None:
    one, two = LLMSpec(model_id="./a"), LLMSpec(model_id="./b", replicas=2, routing="cache-aware")
    settings = Settings(visible_devices="3,5,7")
    found = Engines([one, two], [["x"], ["y", "z"]], settings, queue.SimpleQueue())
    said = "b: 2 replicas, each in a process of its own, cache-aware: GPU 5; GPU 7."
    assert plan_lines(found.all) == [said]
