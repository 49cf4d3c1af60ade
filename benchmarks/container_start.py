"""How long a built Bento takes from the start of its process to its first token, as its image
starts it, and why.

python -m benchmarks.container_start [TAG] [--runs 7] [--beside CHECKOUT]   # and with the openllm
of another checkout python -m benchmarks.container_start --image my/demo:1 [--image other:1]    #
containers instead, in podman
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.bento.conftest import free_port

PATIENCE = 300.0
POLL = 0.01
LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
LIMITS = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "all",
    "--security-opt",
    "no-new-privileges",
)
PHASES = ("supervisor", "worker", "loading", "first token", "all", "CPU")


def answers(url: str, body: bytes | None = None) -> bool:
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.read() or answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def wait(begun: float, url: str, body: bytes | None = None) -> float:
    """Seconds since `begun` when `url` first answers 200."""
    while not answers(url, body):
        if time.time() - begun > PATIENCE:
            raise TimeoutError(url)
        time.sleep(POLL)
    return time.time() - begun


def question(url: str) -> bytes:
    with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as answer:
        name = json.load(answer)["data"][0]["id"]
    return json.dumps({"model": name, "prompt": "Hello", "max_tokens": 1}).encode()


@contextmanager
def served(
    tag: str, port: int, environment: Mapping[str, str], errors: Path
) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(port)]
    with errors.open("wb") as log:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=errors.parent, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def run(tag: str, environment: Mapping[str, str], errors: Path) -> dict[str, float]:
    """Seconds of each phase, and of all."""
    port = free_port()
    url, begun = f"http://127.0.0.1:{port}", time.time()
    with served(tag, port, environment, errors) as process:
        live = wait(begun, f"{url}/livez")
        worker = psutil.Process(process.pid).children()[0].create_time() - begun
        ready = wait(begun, f"{url}/readyz")
        first = wait(begun, f"{url}/v1/completions", question(url))
        spent = cpu_seconds(process.pid)
    return dict(
        zip(PHASES, (worker, live - worker, ready - live, first - ready, first, spent), strict=True)
    )


def cpu_seconds(pid: int) -> float:
    """What a process and those below it have used so far: other work on the machine shows less in
    it than in time.
    """
    owner = psutil.Process(pid)
    return sum(
        times.user + times.system
        for times in (each.cpu_times() for each in (owner, *owner.children(True)))
    )


def run_image(image: str) -> dict[str, float]:
    """Seconds until it is ready, until its first token, and of CPU time."""
    port = free_port()
    url, begun = f"http://127.0.0.1:{port}", time.time()
    publish = ("--publish", f"127.0.0.1:{port}:3000")
    started = ["podman", "run", "--detach", "--pull", "never", *LIMITS, *publish, image]
    name = subprocess.run(started, capture_output=True, text=True, check=True).stdout.strip()
    try:
        ready = wait(begun, f"{url}/readyz")
        first = wait(begun, f"{url}/v1/completions", question(url))
        inspect = ["podman", "inspect", "--format", "{{.State.Pid}}", name]
        pid = int(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
        spent = cpu_seconds(pid)
    finally:
        subprocess.run(["podman", "rm", "--force", name], capture_output=True, check=True)
    return {"ready": ready, "all": first, "CPU": spent}


def import_seconds(log: Path) -> list[tuple[str, float]]:
    """What importing each top-level package took itself, in all processes, the longest first."""
    spent: collections.Counter[str] = collections.Counter()
    for match in LINE.finditer(log.read_text(errors="replace")):
        spent[match[2].partition(".")[0]] += int(match[1])
    return [(name, micro / 1e6) for name, micro in spent.most_common()]


def show(title: str, rounds: list[dict[str, float]]) -> None:
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    lowest = min(each["all"] for each in rounds)
    print(
        f"{title:30} " + "  ".join(f"{name} {value:.2f} s" for name, value in medians.items()),
        f" (best {lowest:.2f} s)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tag", nargs="?", default="demo:latest")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--image", action="append", default=[])
    given = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = collections.defaultdict(list)
    here = Path(__file__).parents[1]
    own = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(here)}
    systems = {here.name: own}
    if given.beside:
        systems[given.beside.name] = {**own, "PYTHONPATH": str(given.beside.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for at in range(given.runs + 1):  # taking turns; the first fills caches
            for image in given.image:
                rounds[image] += [run_image(image)] if at else []
            for name, environment in () if given.image else systems.items():
                found = run(given.tag, environment, log)
                rounds[name] += [found] if at else []
        for name, each in rounds.items():
            show(name, each)
        if not given.image:
            run(given.tag, {**own, "PYTHONPROFILEIMPORTTIME": "1"}, log)
            print(
                "imports: "
                + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in import_seconds(log)[:8])
            )


if __name__ == "__main__":
    main()
