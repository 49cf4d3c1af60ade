"""Engines and servers side by side under the same load: tokens/s, time to first token, gaps between tokens, errors.

    python -m benchmarks.serving                              # one GPU: AsyncLLM here, openllm start, vllm serve
    python -m benchmarks.serving --tiny                       # the same on a CPU, small
    python -m benchmarks.serving --systems echo-llm echo      # our serving layer alone, no engine
    python -m benchmarks.serving --systems pytorch --streams 1 32

Every system gets the same random prompts (128 token ids) and answers 256 tokens, end of sequence ignored; --list
tells the systems. The load comes from several processes over raw sockets (benchmarks.loadgen).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import psutil

from benchmarks.loadgen import Figures, Load, run
from benchmarks.report import Outcome, report, row
from benchmarks.shapes import ROOT, ensure_model
from openllm.backends.devices import visible_gpus
from openllm.backends.vllm.environment import ALWAYS, ON_CPU

ROUNDS = {1: 4, 8: 4, 32: 6, 256: 3, 512: 2}  # requests of each stream, one after the other
CPU_CACHE = 256 << 20
ENGINE_OF = {"asyncllm": "vllm", "backend": "vllm", "llm": "vllm", "echo-llm": "echo", "pytorch-llm": "pytorch"}
SYSTEMS = {
    "asyncllm": "vLLM's AsyncLLM in this process, with text: what the servers are held against",
    "backend": "openllm's vLLM backend in this process: token deltas",
    "llm": "openllm's LLM on vLLM in this process: text deltas",
    "openllm": "openllm start --backend vllm",
    "vllm": "vllm serve",
    "vllm4": "vllm serve --api-server-count 4",
    "echo-llm": "openllm's LLM on the echo engine in this process",
    "echo": "openllm start --backend echo: the serving layer alone",
    "pytorch-llm": "openllm's LLM on PyTorch in this process",
    "pytorch": "openllm start --backend pytorch",
}


@attrs.frozen
class Plan:
    """What one run measures."""

    model: Path
    shape: str
    streams: tuple[int, ...]
    prompt: int
    answer: int
    processes: int
    cpu: bool
    workers: int
    startup: float  # seconds a server may take

    def levels(self, port: int) -> list[Load]:
        """A short level to warm up, then those that count."""
        vocab = json.loads((self.model / "config.json").read_text())["vocab_size"]
        common = {"port": port, "prompt": self.prompt, "vocab": vocab, "processes": self.processes}
        warm = Load(**common, streams=min(16, max(self.streams)), rounds=1, answer=min(32, self.answer), seed=1)
        return [warm, *(Load(**common, streams=n, rounds=self.rounds(n), answer=self.answer) for n in self.streams)]

    def rounds(self, streams: int) -> int:
        return 1 if self.shape == "tiny" else ROUNDS.get(streams, 3)

    def spec(self, engine: str) -> dict[str, Any]:
        """The fields of our spec."""
        fields: dict[str, Any] = {"model_id": str(self.model), "backend": engine, "max_queue": 4096}
        if engine == "echo":
            return {**fields, "max_num_seqs": 1024}
        cpu = {"dtype": "float32", "kv_cache_memory": CPU_CACHE} if self.cpu else {}
        return {**fields, "max_num_seqs": 64, **cpu} if engine == "pytorch" and self.cpu else {**fields, **cpu}


def measure_inside(system: str, plan: Plan) -> Outcome:
    """An engine in a process of its own, without HTTP."""
    kind = "llm" if system.endswith("-llm") else system
    levels = [attrs.asdict(load) for load in plan.levels(port=0)]
    order = json.dumps({"kind": kind, "spec": plan.spec(ENGINE_OF[system]), "levels": levels})
    outcome = Outcome(system)
    with log_file(system) as log:
        command = [sys.executable, "-m", "benchmarks.inprocess", order]
        done = subprocess.run(command, cwd=ROOT, env=environment(plan), stdout=subprocess.PIPE, stderr=log, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    if done.returncode or len(lines) < len(levels) + 1:
        outcome.error = f"ended with {done.returncode}: {last_line(log.name)}"
    if lines:
        outcome.ready = lines[0]["ready"]
        outcome.levels = [Figures(**line) for line in lines[2:]]  # without the warm-up
    return outcome


def measure_server(system: str, plan: Plan) -> Outcome:
    """A server on a free port."""
    outcome, port = Outcome(system), free_port()
    begun = time.monotonic()
    with log_file(system) as log, server(server_command(system, plan, port), plan, log) as process:
        ready = "/health" if system.startswith("vllm") else "/readyz"
        while not answers(port, ready):
            if process.poll() is not None or time.monotonic() - begun > plan.startup:
                outcome.error = f"did not come up: {last_line(log.name)}"
                return outcome
            time.sleep(0.2)
        outcome.ready = time.monotonic() - begun
        warm, *levels = plan.levels(port)
        run(warm)
        for load in levels:
            spent = cpu_seconds(process.pid)
            figures = run(load)
            spent = cpu_seconds(process.pid) - spent
            outcome.levels.append(attrs.evolve(figures, cpu_per_token=spent / max(figures.tokens, 1)))
            print(row(system, outcome.levels[-1]), flush=True)
    return outcome


def server_command(system: str, plan: Plan, port: int) -> list[str]:
    """The command line of one server."""
    if system.startswith("vllm"):
        return vllm_command(plan, port, 4 if system == "vllm4" else 1)
    engine = {"openllm": "vllm"}.get(system, system)
    fields = {key: value for key, value in plan.spec(engine).items() if key != "model_id"}
    options = [part for key, value in fields.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "openllm", "start", str(plan.model), "--name", "bench", "--port", str(port)]
    workers = ["--api-workers", str(plan.workers)] if plan.workers > 1 else []
    return [*command, "--log-level", "warning", *options, *workers]


def vllm_command(plan: Plan, port: int, servers: int) -> list[str]:
    """`vllm serve`: through its module, because the command is missing in some builds."""
    found = find_spec("vllm")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        raise SystemExit("vllm serve needs vLLM: make install-vllm, or leave it out with --systems")
    old = Path(folders[0], "entrypoints", "openai", "api_server.py").exists()
    module = "vllm.entrypoints.openai.api_server" if old else "vllm.entrypoints.launchers.api_server.entry"
    options = ["--model", str(plan.model), "--served-model-name", "bench", "--host", "127.0.0.1", "--port", str(port)]
    options += ["--disable-uvicorn-access-log", "--no-enable-log-requests"]
    if plan.cpu:
        options += ["--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(CPU_CACHE)]
    if servers > 1:  # only the command itself can start several
        command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(plan.model), *options[2:]]
        return [*command, "--api-server-count", str(servers)]
    return [sys.executable, "-m", module, *options]


def environment(plan: Plan) -> dict[str, str]:
    """The same for every system: ours and vLLM's caches shared, nothing asked of the network."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    fixed = {**ALWAYS, **(ON_CPU if plan.cpu else {}), "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    return {**fixed, **os.environ, "PYTHONPATH": path}


@contextlib.contextmanager
def server(command: list[str], plan: Plan, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment(plan), stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        for sign, patience in ((signal.SIGTERM, 45), (signal.SIGKILL, 15)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def wait_for_memory(patience: float = 30.0) -> None:
    """Until the GPUs are free of the system before: what its processes held goes back a moment after they ended."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(gpu.free < 0.95 * gpu.total for gpu in visible_gpus()):
        time.sleep(0.5)


@contextlib.contextmanager
def log_file(system: str) -> Iterator[Any]:
    folder = Path(os.environ.get("OUT") or tempfile.gettempdir())
    with (folder / f"serving-{system}.log").open("w+") as log:
        yield log


def last_line(path: str) -> str:
    lines = [line for line in Path(path).read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1][:300] if lines else 'no output'} (log: {path})"


def cpu_seconds(pid: int) -> float:
    """CPU time of one process so far: the engine's own process is not in it."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["asyncllm", "openllm", "vllm"])
    parser.add_argument("--list", action="store_true", help="list the systems and exit")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and short answers, for a CPU")
    parser.add_argument("--streams", nargs="+", type=int, help="streams at once, one level each")
    parser.add_argument("--prompt", type=int, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, help="tokens of an answer")
    parser.add_argument("--processes", type=int, help="processes of the load generator")
    parser.add_argument("--workers", type=int, default=1, help="API workers of openllm start")
    parser.add_argument("--model", type=Path, help="a directory; by default one is written with random weights")
    parser.add_argument("--startup", type=float, default=240.0, help="seconds that a server may take to come up")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON; default: $OUT/serving.json")
    return parser.parse_args()


def make_plan(args: argparse.Namespace) -> Plan:
    shape = "tiny" if args.tiny else "llama-1b"
    model = args.model or ensure_model(Path(tempfile.gettempdir()) / f"openllm-bench-{shape}", shape)
    return Plan(
        model=model,
        shape=shape,
        streams=tuple(args.streams or ((1, 8) if args.tiny else (1, 32, 256, 512))),
        prompt=args.prompt or (32 if args.tiny else 128),
        answer=args.answer or (32 if args.tiny else 256),
        processes=args.processes or (2 if args.tiny else 8),
        cpu=not visible_gpus(),
        workers=args.workers,
        startup=args.startup,
    )


def main() -> None:
    args = arguments()
    if args.list:
        print("\n".join(f"{name:<12}{meaning}" for name, meaning in SYSTEMS.items()))
        return
    plan = make_plan(args)
    outcomes: list[Outcome] = []
    out = args.out or (Path(os.environ["OUT"]) / "serving.json" if os.environ.get("OUT") else None)
    for system in args.systems:
        measured = measure_inside if system in ENGINE_OF and system not in ("pytorch", "echo") else measure_server
        wait_for_memory()
        outcomes.append(measured(system, plan))
        if out is not None:  # after each one, so that a run that is cut short leaves what it has
            out.write_text(json.dumps([attrs.asdict(outcome) for outcome in outcomes], indent=1))
    print(report(outcomes))


if __name__ == "__main__":
    main()
