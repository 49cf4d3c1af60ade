"""The server that is abused: two API workers over the PyTorch engine, each in a process of its
own.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
import psutil

from tests.bento.conftest import ServerProcess, running
from tests.tiny import write_llama

WORKERS = 2
MODEL = "tiny"
DISK_BYTES = 256 * 1024
BACK_SECONDS = 60.0  # for a worker that was killed to be there again, on a machine that is busy


@attrs.frozen
class Fleet:
    """A server that is up."""

    server: ServerProcess
    small_disk: bool  # the files of its clients are on a disk of DISK_BYTES

    @property
    def url(self) -> str:
        return self.server.url

    def workers(self) -> list[psutil.Process]:
        return self._running("openllm.bento.serving.api_worker")

    def engine(self) -> psutil.Process:
        [found] = self._running("openllm.remote")
        return found

    def _running(self, module: str) -> list[psutil.Process]:
        found = []
        for member in self.server.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if module in member.cmdline():
                    found.append(member)
        return found

    def is_whole(self) -> bool:
        """Whether every worker is there and answers."""
        return len(self.workers()) == WORKERS and self.server.status("/readyz") == 200

    def wait_whole(self) -> float:
        """Seconds until it is."""
        begun = time.monotonic()
        while not self.is_whole():
            assert time.monotonic() - begun < BACK_SECONDS, self.server.text()[-2000:]
            time.sleep(0.2)
        return time.monotonic() - begun

    def idle(self) -> bool:
        """Whether the engine has nothing to do."""
        page = httpx.get(f"{self.url}/metrics", timeout=30).text
        marks = (f'_{kind}{{model="{MODEL}"}} 0.0' for kind in ("running", "waiting"))
        return all(f"openllm_requests{mark}" in page for mark in marks)


@attrs.frozen
class Weight:
    """What the server holds of the machine."""

    at: float  # seconds since the first of them
    rss: float  # MB
    descriptors: int


def weigh(fleet: Fleet, begun: float) -> Weight:
    """All its processes."""
    rss = descriptors = 0
    for member in fleet.server.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            rss += member.memory_info().rss
            descriptors += member.num_fds()
    return Weight(time.monotonic() - begun, rss / 1e6, descriptors)


@contextlib.contextmanager
def small_disk(at: Path) -> Iterator[bool]:
    """A disk of DISK_BYTES at `at`, where this user may mount one."""
    at.mkdir(mode=0o700)
    options = ["-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(at)]
    with contextlib.suppress(OSError):
        done = subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, check=False)
        if done.returncode == 0:
            try:
                yield True
            finally:
                subprocess.run(["umount", "-l", str(at)], capture_output=True, check=False)
            return
    yield False


@contextlib.contextmanager
def fleet_of(folder: Path) -> Iterator[Fleet]:
    """The server, up."""
    model = write_llama(folder / MODEL)
    command = ["openllm", "start", str(model), "--backend", "pytorch", "--max-num-seqs", "16"]
    command += ["--api-workers", str(WORKERS), "--files-root", str(folder / "disk")]
    command += ["--admin-key", "admin", "--max-queue", "64", "--max-body-bytes", "2MiB"]
    home = folder / "home"
    home.mkdir()
    with (
        small_disk(folder / "disk") as small,
        running(command, folder / "log", BENTOML_HOME=str(home)) as server,
    ):
        server.wait_ready()
        fleet = Fleet(server, small)
        fleet.wait_whole()
        yield fleet
