"""What adapters cost on each engine: base only, one adapter and four mixed in a batch, and the load
of one.

python -m benchmarks.lora [--model demo] [--backends pytorch vllm] [--streams 16] [--tokens 64]
[--rounds 9]

fp32, every stream beginning at once with a prompt of its own; the kinds take turns. Tokens per
second are the best of the rounds; tokens per CPU-second of this process and the engine's, which
other work on the machine disturbs little, are the median, and the factor is theirs. "load" is from
the call that mounts an adapter to its first token (median of 5).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import psutil
import torch

import openllm

COUNT = 4  # adapters
RANK = 8
LOADS = 5


@attrs.frozen
class Round:
    """What all streams made together."""

    per_second: float  # tokens
    per_cpu_second: float


def write_adapters(model: str, folder: Path) -> list[Path]:
    """Random adapters on all linear layers: they cost what trained ones do."""
    adapted, _ = openllm.LLM(model, backend="pytorch").prepare_for_training(rank=RANK)
    paths = [folder / f"adapter{number}" for number in range(COUNT + 1)]
    for number, path in enumerate(paths):
        torch.manual_seed(number)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_" in name:
                    weight.normal_(0.0, 0.02)
        adapted.save_pretrained(path)
    return paths


def cpu_seconds() -> float:
    """What this process has used of the CPUs, and the engine's where that is another one."""
    process = psutil.Process()
    times = [member.cpu_times() for member in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


async def run_round(
    llm: openllm.LLM, adapters: list[str | None], options: argparse.Namespace
) -> Round:
    """Stream i uses adapter i, round and round."""
    params: dict[str, Any] = {"temperature": 0, "max_tokens": options.tokens, "ignore_eos": True}
    asked = [
        llm.generate(
            f"{number} How do I build a Bento with an adapter?",
            adapter_name=adapters[number % len(adapters)],
            **params,
        )
        for number in range(options.streams)
    ]
    begun, used = time.perf_counter(), cpu_seconds()
    outputs = await asyncio.gather(*asked)
    tokens = sum(output.usage.completion_tokens for output in outputs)
    return Round(tokens / (time.perf_counter() - begun), tokens / (cpu_seconds() - used))


async def load_seconds(llm: openllm.LLM, path: Path) -> float:
    """From mounting to the first token."""
    begun = time.perf_counter()
    await llm.mount_adapter("late", path)
    await llm.generate("Hello", adapter_name="late", max_tokens=1)
    seconds = time.perf_counter() - begun
    await llm.unmount_adapter("late")
    return seconds


async def measure(backend: str, paths: list[Path], options: argparse.Namespace) -> None:
    names = [path.name for path in paths[:COUNT]]
    kinds: dict[str, list[str | None]] = {
        "base only": [None],
        "one adapter": [names[0]],
        "four mixed": list(names),
        "base and four mixed": [None, *names],
    }
    rounds: dict[str, list[Round]] = {kind: [] for kind in ("nothing mounted", *kinds)}
    spec: dict[str, Any] = {
        "dtype": "float32",
        "max_model_len": 512,
        "max_num_seqs": options.streams,
    }
    async with openllm.LLM(options.model, backend=backend, max_adapters=COUNT + 1, **spec) as llm:
        for _ in range(options.rounds + 1):
            rounds["nothing mounted"].append(await run_round(llm, [None], options))
        for path in paths[:COUNT]:
            await llm.mount_adapter(path.name, path)
        for kind in list(kinds) * (options.rounds + 1):
            rounds[kind].append(await run_round(llm, kinds[kind], options))
        loads = [await load_seconds(llm, paths[COUNT]) for _ in range(LOADS + 1)]
    show(
        backend, {kind: done[1:] for kind, done in rounds.items()}
    )  # the first of each is a warm-up
    print(
        f"{backend:8} load to first token {statistics.median(loads[1:]) * 1000:7.0f} ms", flush=True
    )


def show(backend: str, rounds: dict[str, list[Round]]) -> None:
    base = statistics.median(done.per_cpu_second for done in rounds["base only"])
    for kind, done in rounds.items():
        best = max(one.per_second for one in done)
        cpu = statistics.median(one.per_cpu_second for one in done)
        print(
            f"{backend:8} {kind:20} {best:6.0f} tokens/s {cpu:6.0f} tokens/CPU-s"
            f" {cpu / base:5.2f}x",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of LoRA adapters.")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--backends", nargs="+", default=["pytorch", "vllm"])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_adapters(options.model, Path(folder))
        for backend in options.backends:
            asyncio.run(measure(backend, paths, options))


if __name__ == "__main__":
    main()
