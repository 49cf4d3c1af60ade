"""Several API workers and several models: one port, one truth, and one end for all processes."""

from __future__ import annotations

import asyncio
import queue
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from openllm.bento.serving import supervisor
from openllm.bento.serving.processes import Ended
from openllm.bento.serving.supervisor import Fleet
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError
from tests.bento.conftest import STOP_WAIT, ServerProcess, running
from tests.bento.models import write_echo_adapter
from tests.bento.test_serve import stream_slowly

WORKERS = 2


def recipe(path: Path, *specs: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"llms": list(specs)}))
    return path


@pytest.fixture
def two(echo_model: Path, tmp_path: Path) -> Path:
    """A chat and an embedding model."""
    common = {"model_id": str(echo_model), "backend": "echo"}
    chat = {**common, "name": "chat", "engine_args": {"delay": 0.05}}
    return recipe(tmp_path / "two.yaml", chat, {**common, "name": "vectors", "task": "embed"})


@pytest.fixture
def server(two: Path, home: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    options = ["--api-workers", str(WORKERS), "--admin-key", "key", "--adapter-root", str(tmp_path)]
    with running(["openllm", "start", "-f", str(two), *options], tmp_path / "log") as process:
        process.wait_ready()
        yield process


def gone(members: list[psutil.Process]) -> bool:
    """Whether all of them end, soon."""
    _, alive = psutil.wait_procs(members, timeout=STOP_WAIT)
    return not alive


def test_one_port_one_address_for_all_models(server: ServerProcess, tmp_path: Path) -> None:
    members = server.family()
    assert len(members) == 1 + 2 + WORKERS  # the supervisor, the engines, the workers
    assert server.listening_ports() == {server.port}
    client = server.openai()
    assert [model.id for model in client.models.list()] == ["chat", "vectors"]
    assert (
        client.completions.create(model="chat", prompt="hello there", max_tokens=9).choices[0].text
        == "hello there"
    )
    first, second = client.embeddings.create(model="vectors", input=["one", "two"]).data
    assert first.embedding != second.embedding
    adapters_are_known_to_every_worker(server, tmp_path)
    metrics_are_those_of_all_workers(server)
    ends_when_its_streams_have(server)
    assert gone(members)


def adapters_are_known_to_every_worker(server: ServerProcess, tmp_path: Path) -> None:
    write_echo_adapter(tmp_path / "pirate")
    body = {"name": "pirate", "source": "pirate", "model": "chat"}
    headers = {"Authorization": "Bearer key"}
    assert (
        httpx.post(
            f"{server.url}/v1/adapters", json=body, headers=headers, timeout=STOP_WAIT
        ).status_code
        == 201
    )
    end = time.monotonic() + 5
    while True:  # each look is a connection of its own, so sooner or later each worker is asked
        found = [
            [model["id"] for model in httpx.get(f"{server.url}/v1/models").json()["data"]]
            for _ in range(12)
        ]
        if all("pirate" in names for names in found):
            return
        assert time.monotonic() < end, found


def metrics_are_those_of_all_workers(server: ServerProcess) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        body = {"model": "chat", "prompt": "hello", "max_tokens": 2}
        (await client.post("/v1/completions", json=body)).raise_for_status()

    async def ask_many() -> None:
        limits = httpx.Limits(max_keepalive_connections=0)  # so that both workers get some
        async with httpx.AsyncClient(
            base_url=server.url, timeout=STOP_WAIT, limits=limits
        ) as client:
            await asyncio.gather(*(ask(client) for _ in range(30)))

    before = counted(server)
    asyncio.run(ask_many())
    assert [counted(server) for _ in range(6)] == [before + 30] * 6


def counted(server: ServerProcess) -> int:
    page = httpx.get(f"{server.url}/metrics", timeout=STOP_WAIT).raise_for_status().text
    found = re.findall(
        r'^openllm_requests_total\{.*model="chat".*completions.*\} ([0-9.]+)$', page, re.MULTILINE
    )
    assert page.count('openllm_requests_running{model="chat"}') == 1
    return int(sum(map(float, found)))


def ends_when_its_streams_have(server: ServerProcess) -> None:
    begun, found = threading.Event(), list[str]()
    reader = threading.Thread(
        target=stream_slowly, args=(server, 40, begun, found), kwargs={"model": "chat"}
    )
    reader.start()
    assert begun.wait(STOP_WAIT)
    server.send(signal.SIGTERM)
    reader.join(STOP_WAIT)
    assert found[-2:] == ["length", "data: [DONE]"]
    assert server.wait() == 0
    assert "Traceback" not in server.text()


def test_a_worker_that_is_killed_is_started_again(
    echo_model: Path, home: Path, tmp_path: Path
) -> None:
    """The streams of the other one go on; those who ask meanwhile are answered at once."""
    slow = {"model_id": str(echo_model), "backend": "echo", "engine_args": {"delay": 0.05}}
    command = ["openllm", "start", "-f", str(recipe(tmp_path / "one.yaml", slow))]
    with running([*command, "--api-workers", str(WORKERS)], tmp_path / "log") as server:
        server.wait_ready()
        before = workers_of(server)
        by_worker: dict[int, list[Streaming]] = {pid: [] for pid in before}
        while not all(by_worker.values()):
            stream = Streaming(server)
            by_worker[stream.worker].append(stream)
        victim, other = before
        psutil.Process(victim).kill()
        assert all(one.ended() == "cut off" for one in by_worker[victim])
        assert server.status("/readyz") == 200
        assert server.status("/v1/models") == 200
        assert all(one.ended() == "data: [DONE]" for one in by_worker[other])
        end = time.monotonic() + STOP_WAIT
        while len(workers_of(server) - {victim}) < WORKERS:
            assert time.monotonic() < end, server.text()
            time.sleep(0.1)
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    assert "An API worker (process" in server.text()
    assert "Traceback" not in server.text()


def workers_of(server: ServerProcess) -> set[int]:
    mark = "openllm.bento.serving.api_worker"
    return {member.pid for member in server.family() if mark in member.cmdline()}


class Streaming:
    """A stream of five seconds, begun, and read to its end in a thread; `worker` writes it."""

    def __init__(self, server: ServerProcess) -> None:
        self._begun, self._last = threading.Event(), ""
        self._url = server.url
        self._port = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._begun.wait(STOP_WAIT)
        self.worker = next(pid for pid in workers_of(server) if self._port in peers_of(pid))

    def _read(self) -> None:
        body = {"prompt": "hello", "max_tokens": 100, "ignore_eos": True, "stream": True}
        try:
            with httpx.stream(
                "POST", f"{self._url}/v1/completions", json=body, timeout=STOP_WAIT
            ) as answer:
                self._port = answer.extensions["network_stream"].get_extra_info("client_addr")[1]
                for line in answer.iter_lines():
                    self._last = line or self._last
                    self._begun.set()
        except httpx.RemoteProtocolError:
            self._last = "cut off"

    def ended(self) -> str:
        """Its last line."""
        self._thread.join(STOP_WAIT)
        return self._last


def peers_of(pid: int) -> set[int]:
    """The ports from which clients are connected to a process."""
    return {item.raddr.port for item in psutil.Process(pid).net_connections("tcp") if item.raddr}


def test_what_is_killed_again_and_again_is_given_up(echo_model: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, (LLMSpec(model_id=str(echo_model), backend="echo"),), Settings())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        workers = supervisor._Workers(fleet, listener, queue.SimpleQueue())
        workers.start = lambda *, replaces=False: workers.all.append(Dead())  # type: ignore[method-assign, misc]  # no process
        workers.start()
        for _ in range(supervisor.MOST_KILLED):
            workers.ended(Ended("An API worker", workers.all[0], -signal.SIGKILL))
        with pytest.raises(ServeError, match="has ended with -9"):
            workers.ended(Ended("An API worker", workers.all[0], -signal.SIGKILL))
        workers.close()


def test_a_worker_that_gives_up_ends_all(echo_model: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, (LLMSpec(model_id=str(echo_model), backend="echo"),), Settings())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        workers = supervisor._Workers(fleet, listener, queue.SimpleQueue())
        workers.all.append(Dead())
        with pytest.raises(ServeError, match="has ended with 1"):
            workers.ended(Ended("An API worker", workers.all[0], 1))
        workers.close()


class Dead:
    """A process that has ended."""

    pid = 1

    def wait(self) -> int:
        return -signal.SIGKILL

    def terminate(self) -> None:
        pass

    def stop(self, seconds: float = 0.0) -> int:
        return -signal.SIGKILL


@pytest.mark.parametrize("victim", ["engine", "supervisor"])
def test_when_one_process_dies_all_end(two: Path, home: Path, tmp_path: Path, victim: str) -> None:
    command = [
        "openllm",
        "start",
        "-f",
        str(two),
        "--api-workers",
        str(WORKERS),
        "--drain-seconds",
        "1",
    ]
    with running(command, tmp_path / "log") as server:
        server.wait_ready()
        members = server.family()
        marks = {
            "engine": "openllm.remote",
            "supervisor": "start",
        }
        next(member for member in members if marks[victim] in member.cmdline()).kill()
        assert server.wait() != 0
        assert gone(members)
    if victim != "supervisor":
        assert re.search(r"The engine of.* has ended with -9", server.text())
        assert "Traceback" not in server.text()
