"""What is stored starts with the network cut: in a network namespace without routes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bento.conftest import home
from tests.cli.commands.test_pull import Pull, pull, run

__all__ = ["home", "pull", "run"]

# Runs in the namespace: the loopback is switched on, the server started, asked once, and stopped.
CHILD = """
import fcntl, json, os, signal, socket, struct, subprocess, sys, time, urllib.request
with socket.socket() as device:
    fcntl.ioctl(device, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
assert open("/proc/net/route").read().count(chr(10)) <= 1, "there are routes"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
url = f"http://127.0.0.1:{port}"
server = subprocess.Popen(
    [sys.executable, "-m", "openllm", "start", sys.argv[1], "--backend", "pytorch"]
    + ["--port", str(port)]
)
try:
    while True:
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url + "/readyz").close()
            break
        except OSError:
            time.sleep(0.1)
    body = json.dumps({"model": sys.argv[1], "prompt": "hello", "max_tokens": 3}).encode()
    asked = urllib.request.Request(
        url + "/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked) as answer:
        print(json.loads(answer.read())["usage"]["completion_tokens"])
finally:
    server.send_signal(signal.SIGTERM)
    server.wait()
"""


def has_namespaces() -> bool:
    tool = shutil.which("unshare")
    return (
        tool is not None
        and subprocess.run([tool, "-n", "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not has_namespaces(), reason="no network namespaces here: root and unshare")
def test_an_alias_of_a_stored_model_starts_without_a_network(run, pull: Pull, home: Path) -> None:
    run("alias", "my-prod", pull())
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environ |= {"BENTOML_HOME": str(home), "HF_HOME": str(home / "no-cache")}
    command = ["unshare", "-n", sys.executable, "-c", CHILD, "my-prod"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 1 <= json.loads(done.stdout.splitlines()[-1]) <= 3
