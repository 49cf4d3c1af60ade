"""Several API workers and several models: one port, one truth, and one end for all processes."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

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


@pytest.mark.parametrize("victim", ["engine", "worker", "supervisor"])
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
            "worker": "openllm.bento.serving.api_worker",
            "supervisor": "start",
        }
        next(member for member in members if marks[victim] in member.cmdline()).kill()
        assert server.wait() != 0
        assert gone(members)
    if victim != "supervisor":
        assert re.search(r"(The engine of|An API worker).* has ended with -9", server.text())
        assert "Traceback" not in server.text()
