"""The engine's processes end with the one that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from openllm.backends.vllm.guard import MARK, Guard

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"
)

PARENT = """
import subprocess, sys, time
from openllm.backends.vllm.guard import Guard
guard = Guard()
with guard:
    marked = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
plain = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(marked.pid, plain.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_parent_takes_the_marked_processes_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    marked, plain = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
    try:
        os.kill(parent.pid, signal.SIGKILL)
        gone, _ = psutil.wait_procs([marked], timeout=20)
        assert gone == [marked]
        assert plain.is_running()
    finally:
        for process in (marked, plain):
            if process.is_running():
                process.kill()
        parent.communicate()


def test_released_it_is_gone_and_kills_nothing() -> None:
    before = set(psutil.Process().children())
    guard = Guard()
    with guard:
        assert os.environ[MARK]
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    assert MARK not in os.environ
    guard.release()
    guard.release()
    assert child.poll() is None
    child.kill()
    child.communicate()
    assert set(psutil.Process().children()) == before
