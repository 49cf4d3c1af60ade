"""How long others wait beside bodies that mean no good, and what each of those costs.

    python -m benchmarks.abuse [--rounds 3] [--backend echo]

A server of the demo model is sent bodies of up to 30 MB, one after another. Meanwhile a client with
a connection of its own asks for /livez every 5 ms: its slowest answer is the longest time that the
event loop was held up. The CPU time is that of the server's process for one body, from
/proc/PID/stat; it tells less of other work on the machine than the waits do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.systems import answers, cpu_seconds, free_port

PROBE_SECONDS = 0.005
START_SECONDS = 120.0
TEXT = "a plain sentence of some words, "


def chat(**said: Any) -> bytes:
    message = {"role": "user", "content": "hi"}
    return json.dumps({"messages": [message], "max_tokens": 1, **said}).encode()


def with_lists(megabytes: int) -> bytes:
    lists = b",".join([b"[[]]"] * (megabytes * 200_000))
    return chat()[:-1] + b', "metadata": {"x": [' + lists + b"]}}"


def with_keys(count: int) -> bytes:
    return chat(metadata={f"key {at}": at for at in range(count)})


def with_parts(count: int) -> bytes:
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": "a"}] * count}])


def with_prompts(name: str, count: int, characters: int) -> bytes:
    text = (TEXT * (characters // len(TEXT) + 1))[:characters]
    return json.dumps({name: [text] * count, "max_tokens": 1}).encode()


def with_ids(count: int, each: int) -> bytes:
    return json.dumps({"prompt": [[7] * each] * count, "max_tokens": 1}).encode()


# A name, where it is posted, and its body.
Body = tuple[str, str, Callable[[], bytes]]
BODIES: tuple[Body, ...] = (
    ("30 MB of nested lists", "/v1/chat/completions", lambda: with_lists(30)),
    ("the same, to Anthropic's", "/v1/messages", lambda: with_lists(30)),
    ("the same, to Ollama's", "/api/chat", lambda: with_lists(30)),
    ("the same, to TGI's", "/generate", lambda: with_lists(30)),
    ("the same, to ours", "/v1/generate", lambda: with_lists(30)),
    ("the same, to Responses", "/v1/responses", lambda: with_lists(30)),
    ("1.5 M keys", "/v1/chat/completions", lambda: with_keys(1_500_000)),
    ("as many keys as pass", "/v1/chat/completions", lambda: with_keys(60_000)),
    ("500,000 parts", "/v1/chat/completions", lambda: with_parts(500_000)),
    ("as many parts as pass", "/v1/chat/completions", lambda: with_parts(24_000)),
    ("1,024 x 15,000 ids", "/v1/completions", lambda: with_ids(1024, 15_000)),
    ("as many ids as pass", "/v1/completions", lambda: with_ids(1000, 1000)),
    ("1,024 x 2,000 characters", "/v1/completions", lambda: with_prompts("prompt", 1024, 2000)),
    ("one text of 30 MB", "/v1/completions", lambda: with_prompts("prompt", 1, 30_000_000)),
    ("embeddings, 1,024 x 30 KB", "/v1/embeddings", lambda: with_prompts("input", 1024, 30_000)),
)


@contextmanager
def server(backend: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a server of the demo model."""
    port = free_port()
    command = [sys.executable, "-m", "openllm", "start", "demo", "--backend", backend]
    with subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(port, "/readyz"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("The server does not start.")
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()


class Probe:
    """Asks for /livez until it is stopped; `slowest` in seconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.slowest = 0.0
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._over.wait(PROBE_SECONDS):
            before = time.perf_counter()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            self.slowest = max(self.slowest, time.perf_counter() - before)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def post(port: int, path: str, body: bytes) -> int:
    """The status of the answer; 0 where the connection broke before it came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return answer.status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="echo")
    args = parser.parse_args()
    with server(args.backend) as (port, pid):
        with Probe(port) as probe:
            time.sleep(2)
        print(f"{os.cpu_count()} cores; alone, the slowest probe took {probe.slowest * 1e3:.0f} ms")
        for name, path, make in BODIES:
            body = make()
            for _ in range(args.rounds):
                before, began = cpu_seconds(pid), time.perf_counter()
                with Probe(port) as probe:
                    status = post(port, path, body)
                took = time.perf_counter() - began
                cpu = cpu_seconds(pid) - before
                print(
                    f"{name:28} {status} after {took:6.2f} s, CPU {cpu * 1e3:5.0f} ms,"
                    f" slowest probe {probe.slowest * 1e3:4.0f} ms",
                    flush=True,
                )


if __name__ == "__main__":
    main()
