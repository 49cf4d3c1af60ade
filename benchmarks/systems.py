"""The systems that benchmarks.serving holds side by side: each can be started, loaded level by
level, and ended.
"""

from __future__ import annotations

import abc
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import attrs
import psutil

from benchmarks.loadgen import Figures, Load, run
from benchmarks.shapes import ROOT
from openllm.backends.vllm.environment import ALWAYS, ON_CPU

ROUNDS = {1: 4, 8: 4, 32: 6, 256: 3, 512: 2}  # requests of each stream, one after the other
CPU_CACHE = 256 << 20
INSIDE = {
    "asyncllm": "vllm",
    "backend": "vllm",
    "llm": "vllm",
    "echo-llm": "echo",
    "pytorch-llm": "pytorch",
}
SYSTEMS = {
    "asyncllm": "vLLM's AsyncLLM in this process, with text: what the servers are held against",
    "backend": "openllm's vLLM backend in this process: token deltas",
    "llm": "openllm's LLM on vLLM in this process: text deltas",
    "openllm": "openllm start --backend vllm",
    "openllm4": "openllm start --backend vllm --api-workers 4",
    "vllm": "vllm serve",
    "vllm4": "vllm serve --api-server-count 4",
    "vllm-rust": "vllm serve with its front end in Rust (GPU builds only)",
    "echo-llm": "openllm's LLM on the echo engine in this process",
    "echo": "openllm start --backend echo: the serving layer alone",
    "pytorch-llm": "openllm's LLM on PyTorch in this process",
    "pytorch": "openllm start --backend pytorch",
    "pytorch-eager": "openllm start --backend pytorch --enforce-eager: without CUDA graphs",
}


@attrs.frozen
class Plan:
    """What one run measures. `cache`: bytes of the KV cache, for every vLLM alike; None: what vLLM
    takes by itself.
    """

    model: Path
    shape: str
    streams: tuple[int, ...]
    prompt: int
    answer: int
    processes: int
    cpu: bool
    workers: int
    startup: float  # seconds a system may take
    share: float | None = None  # of the GPU's memory, that every vLLM asks for
    cache: int | None = None

    def levels(self, port: int) -> list[Load]:
        """A short level to warm up, then those that count."""
        vocab = json.loads((self.model / "config.json").read_text())["vocab_size"]
        common = {"port": port, "prompt": self.prompt, "vocab": vocab, "processes": self.processes}
        warm = Load(
            **common,
            streams=min(16, max(self.streams)),
            rounds=1,
            answer=min(32, self.answer),
            seed=1,
        )
        loads = enumerate(
            self.streams
        )  # prompts of their own each time, or the prefix cache would have them
        more = [
            Load(**common, streams=n, rounds=self.rounds(n), answer=self.answer, seed=2 + at)
            for at, n in loads
        ]
        return [warm, *more]

    def rounds(self, streams: int) -> int:
        return 1 if self.shape == "tiny" else ROUNDS.get(streams, 3)

    def spec(self, engine: str) -> dict[str, Any]:
        """The fields of our spec."""
        fields: dict[str, Any] = {"model_id": str(self.model), "backend": engine, "max_queue": 4096}
        if engine == "echo":
            return {**fields, "max_num_seqs": 1024}
        if engine == "pytorch-eager":
            return {**self.spec("pytorch"), "enforce_eager": True}
        if engine == "pytorch":
            cpu = (
                {"dtype": "float32", "kv_cache_memory": CPU_CACHE, "max_num_seqs": 64}
                if self.cpu
                else {}
            )
            return {**fields, **cpu}
        said = {"dtype": "float32" if self.cpu else None, "kv_cache_memory": self.cache}
        return {
            **fields,
            **{
                k: v
                for k, v in {**said, "gpu_memory_utilization": self.share}.items()
                if v is not None
            },
        }


class System(abc.ABC):
    """One of SYSTEMS while it runs: a process, its log, and what it is asked."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name, self.plan = name, plan
        self.begun = time.monotonic()
        self.log = (
            Path(os.environ.get("OUT") or tempfile.gettempdir()) / f"serving-{name}.log"
        ).open("w+")
        self.process = self._start()

    @abc.abstractmethod
    def _start(self) -> subprocess.Popen[bytes]:
        """Its process, on its way."""

    @abc.abstractmethod
    def _up(self) -> bool:
        """Whether it answers."""

    @abc.abstractmethod
    def measure(self, level: int) -> Figures:
        """The figures of a level of the plan; level 0 warms up. Errors: RuntimeError when it has
        ended.
        """

    def wait_until_up(self) -> float:
        """Seconds from its start until it answers. Errors: RuntimeError."""
        while not self._up():
            if self.process.poll() is not None or time.monotonic() - self.begun > self.plan.startup:
                raise RuntimeError(f"did not come up: {self.last_line()}")
            time.sleep(0.2)
        return time.monotonic() - self.begun

    def last_line(self) -> str:
        lines = [
            line
            for line in Path(self.log.name).read_text(errors="replace").splitlines()
            if line.strip()
        ]
        return f"{lines[-1][:300] if lines else 'no output'} (log: {self.log.name})"

    def end(self) -> None:
        """End it and its children: asked for first, then not asked."""
        for sign, patience in ((signal.SIGTERM, 45), (signal.SIGKILL, 15)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        self.log.close()

    def _spawn(self, command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        settings = environment(self.plan)
        if self.name == "vllm-rust":
            settings["VLLM_USE_RUST_FRONTEND"] = "1"
        return subprocess.Popen(
            command, cwd=ROOT, env=settings, stderr=self.log, start_new_session=True, **pipes
        )


class Inside(System):
    """An engine in a process of its own, without HTTP (benchmarks.inprocess)."""

    def _start(self) -> subprocess.Popen[bytes]:
        kind = "llm" if self.name.endswith("-llm") else self.name
        order = json.dumps({"kind": kind, "spec": self.plan.spec(INSIDE[self.name])})
        command = [sys.executable, "-m", "benchmarks.inprocess", order]
        return self._spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _up(self) -> bool:
        readable, _, _ = select.select([self._pipe(self.process.stdout)], [], [], 0)
        return bool(readable) and "ready" in self._read()

    def measure(self, level: int) -> Figures:
        pipe = self._pipe(self.process.stdin)
        pipe.write(json.dumps(attrs.asdict(self.plan.levels(port=0)[level])).encode() + b"\n")
        pipe.flush()
        return Figures(**self._read())

    def _read(self) -> dict[str, Any]:
        """The next line that is an answer: libraries print theirs between. Errors: RuntimeError."""
        for line in self._pipe(self.process.stdout):
            if line.startswith(b"{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise RuntimeError(f"ended with {self.process.wait()}: {self.last_line()}")

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


class Server(System):
    """A server on a free port, loaded from processes beside it."""

    def _start(self) -> subprocess.Popen[bytes]:
        self.port = free_port()
        return self._spawn(server_command(self.name, self.plan, self.port), stdout=self.log)

    def _up(self) -> bool:
        return answers(self.port, "/health" if self.name.startswith("vllm") else "/readyz")

    def measure(self, level: int) -> Figures:
        spent = cpu_seconds(self.process.pid)
        figures = run(self.plan.levels(self.port)[level])
        spent = cpu_seconds(self.process.pid) - spent
        # else others answer, and it only looks on
        alone = not self.name.endswith(("4", "rust")) and self.plan.workers == 1
        return (
            attrs.evolve(figures, cpu_per_token=spent / max(figures.tokens, 1))
            if alone
            else figures
        )


def start_system(name: str, plan: Plan) -> System:
    return Inside(name, plan) if name in INSIDE else Server(name, plan)


def server_command(system: str, plan: Plan, port: int) -> list[str]:
    """The command line of one server."""
    if system.startswith("vllm"):
        return vllm_command(system, plan, port)
    engine = "vllm" if system.startswith("openllm") else system
    fields = {key: value for key, value in plan.spec(engine).items() if key != "model_id"}
    options = [
        part for key, value in fields.items() for part in option(key.replace("_", "-"), value)
    ]
    command = [
        sys.executable,
        "-m",
        "openllm",
        "start",
        str(plan.model),
        "--name",
        "bench",
        "--port",
        str(port),
    ]
    workers = 4 if system == "openllm4" else plan.workers
    return [
        *command,
        "--log-level",
        "warning",
        *options,
        *(["--api-workers", str(workers)] if workers > 1 else []),
    ]


def option(name: str, value: Any) -> tuple[str, ...]:
    """One option of `openllm start`."""
    if isinstance(value, bool):
        return (f"--{name}" if value else f"--no-{name}",)
    return f"--{name}", str(value)


def vllm_command(system: str, plan: Plan, port: int) -> list[str]:
    """`vllm serve`: through its module, because the command is missing in some builds."""
    found = find_spec("vllm")
    folders = list(found.submodule_search_locations or []) if found else []
    if not folders:
        raise SystemExit("vllm serve needs vLLM: make install-vllm, or leave it out with --systems")
    old = Path(folders[0], "entrypoints", "openai", "api_server.py").exists()
    module = (
        "vllm.entrypoints.openai.api_server"
        if old
        else "vllm.entrypoints.launchers.api_server.entry"
    )
    options = [
        "--model",
        str(plan.model),
        "--served-model-name",
        "bench",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    options += ["--disable-uvicorn-access-log", "--no-enable-log-requests"]
    if plan.cpu:
        options += ["--dtype", "float32", "--enforce-eager"]
    if plan.cache is not None:
        options += ["--kv-cache-memory-bytes", str(plan.cache)]
    if plan.share is not None:
        options += ["--gpu-memory-utilization", str(plan.share)]
    if system != "vllm":  # only the command itself can start several, or the one in Rust
        command = [
            sys.executable,
            "-m",
            "vllm.entrypoints.cli.main",
            "serve",
            str(plan.model),
            *options[2:],
        ]
        return [*command, "--api-server-count", "4"] if system == "vllm4" else command
    return [sys.executable, "-m", module, *options]


def environment(plan: Plan) -> dict[str, str]:
    """The same for every system: ours and vLLM's caches shared, nothing asked of the network."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    fixed = {**ALWAYS, **(ON_CPU if plan.cpu else {}), "HF_HUB_OFFLINE": "1"}
    return {**fixed, **os.environ, "PYTHONPATH": path}


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
