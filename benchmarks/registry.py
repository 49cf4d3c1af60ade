"""What the local store costs: pulling a directory beside reading it, starting from the store beside
starting from the directory, bytes on the disk, and the commands that list it beside click alone.

python -m benchmarks.registry [--gib 2] [--runs 15] [--no-build]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GIB = 2**30
_PIECE = 64 * 2**20  # bytes written at once
BARE = """
import click
@click.group()
def cli(): pass
@cli.command()
def models(): click.echo("models")
cli(["models"])
"""
HASH = "import sys, pathlib; from openllm.weights.checkpoint import file_digests as f"
START = "import asyncio, openllm; asyncio.run(openllm.LLM({!r}, backend='echo').start())"
LISTS = (["models"], ["list"], ["show", "qwen"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=2.0, help="size of the directory")
    parser.add_argument("--runs", type=int, default=15, help="of each command")
    parser.add_argument("--no-build", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="registry-") as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        model = _write_model(Path(folder) / "model", int(given.gib * GIB))
        _pull(model, given.gib, environment)
        tag = _openllm(environment, "pull", "demo", "-o", "tag").strip()
        _start(tag, min(given.runs, 5), environment)  # each loads an engine
        _lists(given.runs, environment)
        if not given.no_build:
            _disk(tag, home, environment)


def _pull(model: Path, gib: float, environment: dict[str, str]) -> None:
    code = f"{HASH}; f(pathlib.Path({str(model)!r}))"
    _seconds([sys.executable, "-c", code], environment)  # the page cache is filled
    hashing = _seconds([sys.executable, "-c", code], environment)
    bare = _seconds([sys.executable, "-m", "openllm", "pull", "demo"], environment)
    pulled = _seconds([sys.executable, "-m", "openllm", "pull", str(model)], environment)
    print(f"pull of {gib:g} GiB: {pulled:.2f} s, {hashing:.2f} s of it hashing;")
    print(f"  a pull of 6 MiB: {bare:.2f} s; beside hashing {pulled - hashing:.2f} s (goal < 1 s)")


def _start(tag: str, runs: int, environment: dict[str, str]) -> None:
    directory = json.loads(_openllm(environment, "show", tag, "-o", "json"))["path"]
    plain = Path(environment["BENTOML_HOME"]).parent / "plain"
    shutil.copytree(directory, plain, ignore=shutil.ignore_patterns("model.yaml"))
    codes = {name: START.format(name) for name in (tag, str(plain))}
    stored, beside = _medians(
        [[sys.executable, "-c", code] for code in codes.values()], runs, environment
    )
    print(f"start from the store: {stored / beside:.3f}x of the directory (goal 1.05x)")


def _lists(runs: int, environment: dict[str, str]) -> None:
    commands = [[sys.executable, "-c", BARE]]
    commands += [[sys.executable, "-m", "openllm", *words] for words in LISTS]
    bare, *listed = _medians(commands, runs, environment)
    for words, seconds in zip(LISTS, listed, strict=True):
        line = f"openllm {' '.join(words)}: {seconds * 1000:.0f} ms of CPU,"
        print(f"{line} {seconds / bare:.2f}x of bare click (goal 2x)")


def _disk(tag: str, home: Path, environment: dict[str, str]) -> None:
    before = _bytes(home / "models")
    _openllm(environment, "build", tag, "--backend", "echo")
    after = _bytes(home / "models")
    print(f"weights on the disk after pull and build: {after / before:.4f}x (goal 1.01x)")


def _write_model(directory: Path, size: int) -> Path:
    """A checkpoint of `size` bytes that cannot be told from noise."""
    from tests.checkpoints import FILES, tensors

    directory.mkdir()
    for name, data in FILES.items():
        (directory / name).write_bytes(data)
    header = tensors(a=0)[8:].replace(b'"shape": [0]', b'"shape": [%d]' % (size // 4))
    header = header.replace(b"[0, 0]", b"[0, %d]" % (size // 4 * 4))
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for at in range(0, size // 4 * 4, _PIECE):
            file.write(os.urandom(min(_PIECE, size // 4 * 4 - at)))
    return directory


def _bytes(directory: Path) -> int:
    """Bytes of the files below, each once whatever links to it."""
    stats = [path.stat() for path in directory.rglob("*") if path.is_file()]
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}.values())


def _openllm(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "openllm", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def _medians(commands: list[list[str]], runs: int, environment: dict[str, str]) -> list[float]:
    """CPU time of each command; they take turns, so that other work on the machine hits all alike,
    and the first run of each, which fills caches, does not count.
    """
    found: list[list[float]] = [[] for _ in commands]
    for _ in range(runs + 1):
        for times, command in zip(found, commands, strict=True):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _seconds(command, environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return [statistics.median(times[1:]) for times in found]


if __name__ == "__main__":
    main()
