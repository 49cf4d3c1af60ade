"""Ends the engine's processes when this one is killed: vLLM's engine core outlives its parent and
keeps the GPU.

A shell waits on a pipe that only this process holds. When the pipe closes, it kills every process
that carries the mark this engine was started with, from the first moment of its start and with all
its workers.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

from openllm.config.settings import process_environment

MARK = "_OPENLLM_ENGINE"
_SCRIPT = """
cat >/dev/null
for found in $(grep -lsF "$1" /proc/[0-9]*/environ); do
  place=${found%/environ}
  kill -9 "${place#/proc/}"
done
"""


class Guard:
    """Watches from construction to `release`; between `__enter__` and `__exit__`, processes that
    start are marked.
    """

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        if not Path("/proc/self/environ").exists():
            return  # not Linux: nothing to look the mark up in
        others = {name: value for name, value in process_environment().items() if name != MARK}
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "openllm-guard", f"{MARK}={self._token}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=others,
            start_new_session=True,  # Ctrl+C in a terminal is not for it
        )

    def __enter__(self) -> None:
        os.environ[MARK] = self._token

    def __exit__(self, *exception: object) -> None:
        os.environ.pop(MARK, None)

    def release(self) -> None:
        """The engine has been shut down: stop watching."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
