"""The application on a real cluster of this machine: streams, a replica that is killed, more
replicas under load and fewer without.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import httpx
import psutil
import pytest

from tests.bento.conftest import free_port
from tests.bento.models import write_echo_weights

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

LONG_WAIT = 240.0
STREAMS = 8


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from ray import serve

    port = free_port()
    ray.init(
        num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_echo_weights(tmp_path_factory.mktemp("ray") / "parrot"))


def run(model: str, route: str, **args: Any) -> None:
    from ray import serve

    from openllm.ray import app

    fields = {"model": model, "backend": "echo", "engine_args": '{"delay": 0.02}', **args}
    serve.run(app(fields), name=route.strip("/") or "root", route_prefix=route)


def replicas(name: str) -> int:
    """How many are up."""
    from ray import serve

    (found,) = serve.status().applications[name].deployments.values()
    return found.replica_states.get("RUNNING", 0)


def replica_processes() -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any("ServeReplica:root" in part for part in process.info["cmdline"] or ())
    ]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@attrs.define
class Load:
    """Streams, one after the other on each of several threads; how they ended."""

    url: str
    ends: list[str] = attrs.field(factory=list)
    over: threading.Event = attrs.field(factory=threading.Event)
    threads: list[threading.Thread] = attrs.field(factory=list)

    def begin(self, streams: int = STREAMS) -> None:
        new = [threading.Thread(target=self._run, daemon=True) for _ in range(streams)]
        self.threads += new
        for thread in new:
            thread.start()

    def end(self) -> Counter[str]:
        self.over.set()
        for thread in self.threads:
            thread.join(LONG_WAIT)
        return Counter(self.ends)

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=LONG_WAIT) as client:
            while not self.over.is_set():
                self.ends.append(_end(client))


def _end(client: httpx.Client) -> str:
    """How one stream ended."""
    body = {"prompt": "hello", "max_tokens": 40, "ignore_eos": True, "stream": True}
    last = ""
    try:
        with client.stream("POST", "/v1/completions", json=body) as answer:
            if answer.status_code != 200:
                return str(answer.status_code)
            for line in answer.iter_lines():
                last = line or last
    except httpx.TransportError:
        return "cut off"
    return last if last == "data: [DONE]" else "cut off"


def test_one_is_killed_under_load(url: str, model: str) -> None:
    """Two replicas: nothing is lost but what the one had, and it comes back."""
    run(model, "/", replicas="2")
    assert httpx.get(f"{url}/readyz", timeout=60).json() == {"status": "ready"}
    events = []
    with httpx.stream(
        "POST",
        f"{url}/v1/completions",
        json={"prompt": "hello", "max_tokens": 20, "ignore_eos": True, "stream": True},
        timeout=60,
    ) as answer:
        for line in answer.iter_lines():
            events += [time.monotonic()] if line else []
    assert events[-1] - events[0] > 0.2, "the stream came at once"
    load = Load(url)
    load.begin()
    wait_until(lambda: len(load.ends) >= 2 * STREAMS)
    victim = replica_processes()[0]
    victim.kill()
    wait_until(lambda: len(load.ends) >= 6 * STREAMS)
    wait_until(lambda: len(replica_processes()) == 2 and replicas("root") == 2)
    ends = load.end()
    whole = ends.pop("data: [DONE]")
    assert whole >= 5 * STREAMS
    assert sum(ends.values()) <= STREAMS, ends


def test_as_many_as_are_needed_and_none_is_cut_off(url: str, model: str) -> None:
    run(
        model,
        "/scaled",
        max_replicas="2",
        target_ongoing_requests="4",
        upscale_delay_s="1",
        downscale_delay_s="3",
    )
    assert replicas("scaled") == 1
    load = Load(f"{url}/scaled")
    load.begin(12)
    wait_until(lambda: replicas("scaled") == 2)
    load.over.set()
    wait_until(lambda: not any(thread.is_alive() for thread in load.threads))
    load.over.clear()
    load.begin(1)  # goes on while there is one too many
    wait_until(lambda: replicas("scaled") == 1)
    assert load.end().keys() == {"data: [DONE]"}
