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

from openllm.bento.serving.engines import EnginePlace, Engines, plan_lines
from openllm.bento.serving.processes import Ended
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
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
    engines = Engines([spec], [["a", "b"]], Settings(), events)
    for _ in range(4):
        for engine in engines.all:
            assert end(engines, engine)
    assert end(engines, engines.all[0])
    with pytest.raises(ServeError, match=r"Replica 2 of 2 of parrot .* as all replicas do"):
        end(engines, engines.all[1])
    assert not engines.ended(Ended("An API worker", Dead(), 1))


def end(engines: Engines, engine: EnginePlace) -> bool:
    """Let `engine` have just begun and ended."""
    engine.child, engine.begun = Dead(), time.monotonic()
    return engines.ended(Ended(engine.name, engine.child, 1))


def test_the_plan_is_said_where_there_are_replicas() -> None:
    one, two = LLMSpec(model_id="./a"), LLMSpec(model_id="./b", replicas=2, routing="cache-aware")
    settings = Settings(visible_devices="3,5,7")
    engines = Engines([one, two], [["x"], ["y", "z"]], settings, queue.SimpleQueue())
    said = "b: 2 replicas, each in a process of its own, cache-aware: GPU 5; GPU 7."
    assert plan_lines(engines.all) == [said]
