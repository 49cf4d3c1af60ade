"""A server of its own for a chat: started, waited for, and stopped with it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from openllm.cli.output import quiet
from openllm.client import Client
from openllm.config.servers import running_servers
from openllm.config.settings import Settings, foreign_environment
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError, Unreachable
from openllm.weights.temporary import Temporary

POLL_SECONDS = 0.1
STOP_SECONDS = 20.0


class Progress:
    """One line that says what is waited for, on a terminal; nothing elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = time.monotonic()
        self._shown = sys.stderr.isatty() and not quiet()

    def tell(self) -> None:
        if self._shown:
            seconds = time.monotonic() - self._begun
            sys.stderr.write(f"\rLoading {self._name} ... {seconds:.0f} s ")
            sys.stderr.flush()

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


@contextmanager
def own_server(
    specs: Sequence[LLMSpec], settings: Settings, progress: Progress
) -> Iterator[Client]:
    """A client of a new server on a free port, which only this chat has the key of.

    It ends with this process, however that ends: its standard input is then closed. Errors:
    ServeError with what it said.
    """
    from openllm.bento.pack.document import write_document

    key = secrets.token_hex(16)
    mine = attrs.evolve(
        settings,
        host="127.0.0.1",
        port=0,
        api_key=key,
        admin_key=None,
        api_keys_file=None,
        api_workers=1,
        ui=False,
        drain_seconds=1.0,
    )
    with Temporary() as folder:
        recipe, log = folder / "chat.json", folder / "log"
        recipe.write_text(write_document(specs), encoding="utf-8")
        with log.open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "openllm", "start", "-f", str(recipe), "--with-parent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**foreign_environment(), **mine.to_env()},
                start_new_session=True,  # Ctrl+C is for the chat
            )
        try:
            yield _ready(
                child, log, Client(_url(child, log, settings, progress), key=key), progress
            )
        finally:
            _stop(child)


def _url(child: subprocess.Popen[bytes], log: Path, settings: Settings, progress: Progress) -> str:
    """Where the child listens, once it does."""
    while True:
        for server in running_servers(settings.bentoml_home):
            if server.pid == child.pid:
                return server.url
        _wait(child, log, progress)


def _ready(child: subprocess.Popen[bytes], log: Path, client: Client, progress: Progress) -> Client:
    while True:
        try:
            if client.health():
                progress.end()
                return client
        except Unreachable:
            pass  # it is about to listen, or to end
        _wait(child, log, progress)


def _wait(child: subprocess.Popen[bytes], log: Path, progress: Progress) -> None:
    """A moment. Errors: ServeError where the child has ended."""
    progress.tell()
    try:
        child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return
    progress.end()
    said = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in said if line.startswith("Error: ")]
    why = (errors or said or [f"exit code {child.returncode}."])[-1]
    raise ServeError(f"The server could not start: {why}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    if child.stdin is not None:
        child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)  # its session, engines included
        child.wait()
