"""Servers for clients whose environment has no openllm: processes of the repository's own one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).parents[2]
# Another environment with openllm's dependencies, where the repository has none
PYTHON = os.environ.get("SERVER_PYTHON") or str(REPOSITORY / ".venv/bin/python")
BACKEND = os.environ.get("SERVER_BACKEND", "pt")  # vllm, where .venv has it
START_SECONDS = 300  # vLLM compiles
STOP_SECONDS = 20


@contextlib.contextmanager
def demo(home: Path) -> Iterator[str]:
    """`openllm start demo`; yields its URL once it is ready."""
    port = _free_port()
    command = ["-m", "openllm", "start", "demo", "--backend", BACKEND, "--port", str(port)]
    with _process(home, *command, "--host", "127.0.0.1") as (process, log):
        url = f"http://127.0.0.1:{port}"
        _wait_ready(process, url, log)
        yield url


@dataclass(frozen=True)
class Writer:
    """A server whose model writes what it is told."""

    url: str
    process: subprocess.Popen[str]

    def write(self, script: str | list[str]) -> None:
        """The model's next answers are `script`, token by token, whatever is asked; or one after
        the other of several.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(script) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"


@contextlib.contextmanager
def writer(home: Path) -> Iterator[Writer]:
    """A server of `tests.scripted`: for answers that the demo would have to be lucky to give."""
    with _process(home, "-m", "tests.clients.writer", str(home)) as (process, log):
        yield Writer(_told(process, log), process)


@contextlib.contextmanager
def echo(home: Path) -> Iterator[str]:
    """A server of `tests.clients.echo`, which has every route; yields its URL."""
    with _process(home, "-m", "tests.clients.echo", str(home)) as (process, log):
        yield _told(process, log)


def _told(process: subprocess.Popen[str], log: Path) -> str:
    """The URL that a server prints once it is up."""
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, log.read_text()
    return url


@contextlib.contextmanager
def _process(home: Path, *command: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process of the environment that has openllm, with `home` for its files; ended at the
    end.
    """
    if not Path(PYTHON).exists():
        raise RuntimeError(f"There is no {PYTHON}: run `make install`, or set SERVER_PYTHON.")
    log = home / "log"
    environment = {**os.environ, "BENTOML_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    with log.open("w") as written:
        process = subprocess.Popen(
            [PYTHON, *command],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=written,
            text=True,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_ready(process: subprocess.Popen[str], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The server did not come up:\n{log.read_text()}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def new_home() -> contextlib.AbstractContextManager[str]:
    """A directory for a server's files: a short path, for there are sockets in it."""
    return tempfile.TemporaryDirectory(prefix="clients-", ignore_cleanup_errors=True)
