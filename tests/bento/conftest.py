"""A BentoML store of its own for every test, a model for the echo engine, and servers as
processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
import openai
import psutil
import pytest

from tests.bento.models import write_echo_weights

START_WAIT = 180.0  # seconds; a loaded machine needs long to import everything
STOP_WAIT = 60.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty BENTOML_HOME, in force in this process and in what it starts."""
    with bentoml_home(tmp_path / "bentoml", monkeypatch) as place:
        yield place


@contextlib.contextmanager
def bentoml_home(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same for a fixture of another scope."""
    from bentoml._internal.bento import BentoStore
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    parts = {name: place / name for name in ("bentos", "models", "tmp")}
    for part in parts.values():
        part.mkdir(parents=True)
    values = {
        "bentoml_home": str(place),
        "bento_store_dir": str(parts["bentos"]),
        "model_store_dir": str(parts["models"]),
        "tmp_bento_store_dir": str(parts["tmp"]),
        "bento_store": BentoStore(parts["bentos"]),
        "model_store": ModelStore(parts["models"]),
        "cloud_config": place / ".yatai.yaml",
    }
    monkeypatch.setenv("BENTOML_HOME", str(place))
    for name, value in values.items():
        getattr(BentoMLContainer, name).set(value)
    yield place
    for name in values:
        getattr(BentoMLContainer, name).reset()


@pytest.fixture(scope="session")
def echo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that loads on the echo engine; shared, so not to be written to."""
    return write_echo_weights(tmp_path_factory.mktemp("weights") / "parrot")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@attrs.define
class ServerProcess:
    """A server in a process group of its own, and what it wrote."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text()

    def wait_ready(self) -> None:
        end = time.monotonic() + START_WAIT
        while self.status("/readyz") != 200:
            assert self.process.poll() is None, (
                f"it ended with {self.process.returncode}:\n{self.text()}"
            )
            assert time.monotonic() < end, f"not ready in time:\n{self.text()}"
            time.sleep(0.1)

    def status(self, path: str) -> int:
        """The status of a GET; 0 when nobody answers."""
        try:
            return httpx.get(self.url + path, timeout=STOP_WAIT).status_code
        except httpx.TransportError:
            return 0

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=STOP_WAIT
        )

    def family(self) -> list[psutil.Process]:
        """The process and all its descendants."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def listening_ports(self, *members: psutil.Process) -> set[int]:
        """TCP ports that any of `members` (default: the family) listens on."""
        found = set()
        for member in members or self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                found |= {
                    item.laddr.port
                    for item in member.net_connections("tcp")
                    if item.status == "LISTEN"
                }
        return found

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(STOP_WAIT)


@contextlib.contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[ServerProcess]:
    """Run `command` with a port; it and all its descendants, in whatever session, are killed
    afterwards.
    """
    port = free_port()
    env = {**os.environ, "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1", **environment}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
            cwd=log.parent,
            start_new_session=True,
        )
        server = ServerProcess(process, port, log)
        try:
            yield server
        finally:
            family: list[psutil.Process] = []
            with contextlib.suppress(psutil.NoSuchProcess):
                family = server.family()
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_WAIT)
