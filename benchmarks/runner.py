"""What a process of its own costs an engine, and what several API workers bring.

    python -m benchmarks.runner  # hop and workers, echo and the demo model on PyTorch
    python -m benchmarks.runner --part hop --streams 64

hop: one `LLM` read in this process, its engine here or behind the Unix socket. workers: `openllm
start` over HTTP, the load from other processes. Figures of a machine whose cores are fewer than the
processes say little about workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import uvloop

from benchmarks import loadgen
from benchmarks.systems import answers, free_port
from openllm.backends.base import Backend
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from openllm.remote.child import ChildBackend

PROMPT = 32  # tokens
VOCABULARY = 2000  # token ids below which the load picks; the demo model has more
BACKENDS = ("echo", "pytorch")
START_SECONDS = 300.0


def spec_of(backend: str, streams: int) -> LLMSpec:
    return LLMSpec(
        model_id="demo", family="demo", name="bench", backend=backend, max_num_seqs=streams
    )


async def read_stream(llm: LLM, tokens: int) -> int:
    """Read one answer as it comes; its tokens."""
    prompt = list(range(10, 10 + PROMPT))
    count = 0
    async for piece in llm.generate_iterator(
        prompt, max_tokens=tokens, ignore_eos=True, temperature=0.0
    ):
        count += len(piece.outputs[0].token_ids)
    return count


async def one_round(llm: LLM, args: argparse.Namespace) -> float:
    """Tokens per second of `streams` readers."""
    begun = time.perf_counter()
    counts = await asyncio.gather(*(read_stream(llm, args.tokens) for _ in range(args.streams)))
    return sum(counts) / (time.perf_counter() - begun)


async def hop_rates(backend: str, args: argparse.Namespace) -> tuple[float, float]:
    """The medians in this process and behind the socket; in turns, since what else the machine does
    changes.
    """
    spec = spec_of(backend, args.streams)
    here, there = LLM.from_spec(spec), LLM.from_spec(spec, make_engine=in_child)
    async with here, there:
        rates = [
            (await one_round(here, args), await one_round(there, args))
            for _ in range(args.repeats + 1)
        ]
    first, second = zip(*rates[1:], strict=True)  # the first pair only warms up
    return statistics.median(first), statistics.median(second)


def in_child(spec: LLMSpec, place: Path) -> tuple[Backend, str]:
    return ChildBackend(spec, place, Settings.from_env()), "for the measurement"


def measure_hop(backend: str, args: argparse.Namespace) -> None:
    here, there = uvloop.run(hop_rates(backend, args))
    print(
        f"hop      {backend:8} {args.streams:4} streams  in process {here:9.0f} tokens/s  "
        f"behind the socket {there:9.0f} tokens/s  ({(there / here - 1) * 100:+.1f} %)",
        flush=True,
    )


@contextlib.contextmanager
def server(backend: str, workers: int, streams: int) -> Iterator[tuple[int, psutil.Process]]:
    """`openllm start` with so many API workers, ready; ended afterwards."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "openllm",
        "start",
        "demo",
        "--backend",
        backend,
        "--name",
        "bench",
    ]
    command += ["--max-num-seqs", str(streams), "--api-workers", str(workers), "--port", str(port)]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "OPENLLM_LOG_LEVEL": "error"}
    )
    try:
        end = time.monotonic() + START_SECONDS
        while not answers(port, "/readyz"):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"openllm start did not come up: {process.poll()}")
            time.sleep(0.2)
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def measure_workers(backend: str, workers: int, args: argparse.Namespace) -> None:
    with server(backend, workers, args.streams) as (port, root):
        load = loadgen.Load(
            port,
            args.streams,
            args.repeats + 1,
            PROMPT,
            args.tokens,
            VOCABULARY,
            processes=args.clients,
        )
        family = [root, *root.children(recursive=True)]
        before = sum(sum(member.cpu_times()[:2]) for member in family)
        figures = loadgen.run(load)
        spent = sum(sum(member.cpu_times()[:2]) for member in family) - before
    print(
        f"workers  {backend:8} {args.streams:4} streams  {workers}"
        f" worker{'s' if workers > 1 else ' '} {figures.tokens_per_second:9.0f} tokens/s "
        f" {spent / max(figures.tokens, 1) * 1e6:6.1f} us of CPU a token",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("hop", "workers", "all"), default="all")
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128, help="of each answer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", type=int, default=2, help="processes that make the load")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    for backend in args.backend or BACKENDS:
        if args.part != "workers":
            measure_hop(backend, args)
        if args.part != "hop":
            for workers in args.workers:
                measure_workers(backend, workers, args)


if __name__ == "__main__":
    main()
