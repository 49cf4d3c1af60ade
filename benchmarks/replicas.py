"""Two GPUs of one machine beside one: what replicas and vLLM's data parallelism are worth, and what
a replica that is killed under load takes along.

    python -m benchmarks.replicas [--shape llama-8b] [--streams 512] [--workers 4]

Each row is `openllm start`, the first on one GPU, and the same streams. The last line kills one of
two replicas while all streams run: what is lost, and after how many seconds it is back. `--cpu`
tries all of it with the echo engine in vLLM's place.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import attrs
import psutil

from benchmarks.loadgen import Figures, Load, run
from benchmarks.shapes import ROOT, ensure_model
from benchmarks.systems import answers, free_port

START_SECONDS = 900.0
BACK_SECONDS = 600.0


@attrs.frozen
class Row:
    """One way to use the GPUs."""

    title: str
    options: tuple[str, ...]
    gpus: str  # CUDA_VISIBLE_DEVICES


ROWS = (
    Row("one GPU", (), "0"),
    Row("--replicas 2", ("--replicas", "2", "--tensor-parallel-size", "1"), "0,1"),
    Row(
        "--data-parallel-size 2",
        ("--data-parallel-size", "2", "--tensor-parallel-size", "1"),
        "0,1",
    ),
)


class Server:
    """`openllm start`, up; `log` is what it writes."""

    def __init__(self, args: argparse.Namespace, model: Path, row: Row) -> None:
        self.port = free_port()
        place = Path(os.environ.get("OUT") or tempfile.gettempdir())
        self.log = place / f"replicas-{re.sub('[^a-z0-9]+', '-', row.title.lower())}.log"
        engine = "echo" if args.cpu else "vllm"
        command = [sys.executable, "-m", "openllm", "start", str(model), "--backend", engine]
        command += ["--port", str(self.port), "--name", "bench", "--max-queue", "4096"]
        command += ["--api-workers", str(args.workers)]
        if args.cpu:
            command += ["--engine-arg", "delay=0.01"]
        command += row.options
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": row.gpus},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + START_SECONDS
        while not answers(self.port, "/readyz"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{row.title}: {self.log.read_text()[-3000:]}")
            time.sleep(0.2)

    def plan(self) -> str:
        """What it said of its GPUs."""
        found = re.findall(r"(?:Parallel plan|\w+: \d+ replicas).*", self.log.read_text())
        return "; ".join(dict.fromkeys(found))

    def engines(self) -> list[psutil.Process]:
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in family if "openllm.remote" in one.cmdline()]

    def up(self) -> float:
        """Replicas that take requests."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as page:
            found = re.findall(
                r"^openllm_replica_up{.*} ([01])", page.read().decode(), re.MULTILINE
            )
        return sum(map(float, found))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(120)


def load(args: argparse.Namespace, server: Server, rounds: int, seed: int) -> Load:
    return Load(
        port=server.port,
        streams=args.streams,
        rounds=rounds,
        prompt=args.prompt,
        answer=args.answer,
        vocab=1000,
        processes=args.processes,
        seed=seed,
    )


def measured(args: argparse.Namespace, server: Server) -> Figures:
    run(attrs.evolve(load(args, server, 1, 1), streams=16))  # what is compiled on first use
    return max(
        (run(load(args, server, 2, seed)) for seed in (2, 3)), key=lambda one: one.tokens_per_second
    )


def killed(args: argparse.Namespace, server: Server) -> str:
    """Kill a replica while all streams run."""
    found: list[Figures] = []
    thread = threading.Thread(target=lambda: found.append(run(load(args, server, 3, 4))))
    thread.start()
    time.sleep(args.kill_after)
    begun = time.monotonic()
    server.engines()[0].kill()
    while server.up() == 2:
        time.sleep(0.05)
    while server.up() < 2:
        if time.monotonic() - begun > BACK_SECONDS:
            return f"not back within {BACK_SECONDS:.0f} s: {server.log.read_text()[-2000:]}"
        time.sleep(0.1)
    back = time.monotonic() - begun
    thread.join()
    asked, lost = 3 * args.streams, found[0].errors
    return (
        f"a replica killed under {args.streams} streams: {lost} of {asked} requests lost (its own:"
        f" {args.streams // 2} at most), back after {back:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", default="llama-8b")
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--answer", type=int, default=256)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--only", help="only the rows with this in their title")
    parser.add_argument("--kill-after", type=float, default=6.0)
    parser.add_argument("--cpu", action="store_true")
    args = parser.parse_args()
    shape = "tiny" if args.cpu else args.shape
    model = ensure_model(Path(tempfile.gettempdir()) / f"openllm-bench-{shape}", shape)
    one = 0.0
    print("| | tokens/s | beside one | TTFT p50, p99 in ms | lost |\n|---|---|---|---|---|")
    for row in ROWS:
        if (args.cpu and "data" in row.title) or (args.only or "") not in row.title:
            continue
        server = Server(args, model, row)
        try:
            got = measured(args, server)
            one = one or got.tokens_per_second
            times = f"{1000 * got.ttft_p50:.0f}, {1000 * got.ttft_p99:.0f}"
            rate = got.tokens_per_second
            print(f"| {row.title} | {rate:,.0f} | {rate / one:.2f} | {times} | {got.errors} |")
            print(f"<!-- {server.plan()} -->", flush=True)
            if "replicas" in row.title:
                print(killed(args, server), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
