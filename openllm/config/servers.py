"""The servers that run on this machine: a file for each, locked while its server lives.

A lock ends with its process, however that ended, and a number used again by another process is
never taken for a server.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

logger = logging.getLogger(__name__)

DIRECTORY = "openllm-servers"  # below BentoML's home
KEPT_LOGS = 20
# Addresses to listen at that are none to call.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104


@attrs.frozen
class RunningServer:
    """One server, as it described itself when it began to listen."""

    pid: int
    url: str
    models: tuple[str, ...]
    started: float  # seconds since 1970
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def is_running(self) -> bool:
        return _locked(self.log.with_suffix(".json"))

    def answers_to(self, name: str) -> bool:
        """Whether `name` is its process, its port, its address or one of its models."""
        return name in {str(self.pid), str(self.port), self.url, *self.models}


def address(host: str, port: int) -> str:
    """The URL at which this machine reaches a server that listens there."""
    reached = EVERYWHERE.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{reached}:{port}"


@contextmanager
def listed(home: Path, url: str, models: Sequence[str]) -> Iterator[Path | None]:
    """This process is in the list meanwhile, as far as `home` can be written; where its log
    belongs, None where it cannot have one.
    """
    with ExitStack() as stack:
        try:
            log = stack.enter_context(registered(home, url, models))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            logger.warning("This server keeps no log and is in no list: %s: %s.", home, reason)
            log = None
        yield log


@contextmanager
def registered(home: Path, url: str, models: Sequence[str]) -> Iterator[Path]:
    """This process is in the list meanwhile; where its log belongs. Errors: OSError."""
    folder = home / DIRECTORY
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _forget_logs(folder)
    path = folder / f"{os.getpid()}.json"
    about = {"url": url, "models": list(models), "started": time.time()}
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        json.dump(about, file)
        file.flush()
        try:
            yield path.with_suffix(".log")
        finally:
            path.unlink(missing_ok=True)


def running_servers(home: Path) -> list[RunningServer]:
    """Those that live, the oldest first; what others left behind is removed."""
    found = []
    for path in (home / DIRECTORY).glob("*.json"):
        if not _locked(path):
            path.unlink(missing_ok=True)
        elif (server := _read(path)) is not None:
            found.append(server)
    return sorted(found, key=lambda server: server.started)


def _read(path: Path) -> RunningServer | None:
    """None while its server is just writing it, or is gone since."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return RunningServer(
            pid=int(path.stem),
            url=str(about["url"]),
            models=tuple(about["models"]),
            started=float(about["started"]),
            log=path.with_suffix(".log"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locked(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _forget_logs(folder: Path) -> None:
    """Keep the latest logs of servers that are gone."""
    logs = [path for path in folder.glob("*.log") if not _locked(path.with_suffix(".json"))]
    for path in sorted(logs, key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)
