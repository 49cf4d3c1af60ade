"""One model on all visible GPUs and on one: the plan that was made by itself, and whether the
tokens are the same.

    python -m benchmarks.parallel [--prompts 32] [--answer 64] [--dtype float32] [--pipeline]

Greedy answers, of two engines that run at once in processes of their own, the single one on the
last GPU. Two kernels round differently, so where the answers part, the two best tokens must have
been as good as equal (the gap of their log probabilities is printed).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from benchmarks.shapes import ROOT, ensure_model
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.hardware.gpus import visible_gpus
from openllm.llm.llm import LLM

SHARE = 0.15  # of a GPU's memory for each engine
CACHE = 4 << 30


@attrs.frozen
class Answer:
    """The tokens of one greedy answer, and how far the best was from the next best at each."""

    token_ids: list[int]
    gaps: list[float]


async def answers(spec: LLMSpec, prompts: list[list[int]], tokens: int) -> list[Answer]:
    """The greedy answers, all asked at once."""
    async with LLM.from_spec(spec, Path(spec.model_id)) as llm:
        ask = {"temperature": 0, "max_tokens": tokens, "ignore_eos": True, "logprobs": 2}
        await llm.generate(prompts[0], **ask)  # what is compiled on first use
        begun = time.monotonic()
        found = await asyncio.gather(*(llm.generate(prompt, **ask) for prompt in prompts))
        speed = len(prompts) * tokens / (time.monotonic() - begun)
        logging.getLogger(__name__).warning("%s tokens/s on %s", f"{speed:,.0f}", llm.info.device)
    outputs = [output.outputs[0] for output in found]
    return [Answer(out.token_ids, [_gap(at.top) for at in out.logprobs or ()]) for out in outputs]


def _gap(top: Any) -> float:
    best, following = (logprob for _, logprob in top[:2])
    return float(best - following)


def compare(one: list[Answer], other: list[Answer]) -> str:
    """How many answers are equal, and how sure the first differing token was where they are not."""
    parted = []
    for first, second in zip(one, other, strict=True):
        ids = zip(first.token_ids, second.token_ids, strict=True)
        at = next((at for at, (a, b) in enumerate(ids) if a != b), None)
        if at is not None:
            parted.append((at, first.gaps[at]))
    gaps = sorted(gap for answer in one for gap in answer.gaps)
    text = f"{len(one) - len(parted)} of {len(one)} answers are equal token for token"
    text += f" (gap of the two best: median {gaps[len(gaps) // 2]:.4f})"
    if not parted:
        return text
    tokens = sum(at for at, _ in parted) / len(parted)
    return (
        f"{text}; the others part after {tokens:.0f} tokens, where it was"
        f" {max(gap for _, gap in parted):.4f} at most"
    )


def side(args: argparse.Namespace, model: Path, gpus: int | None) -> subprocess.Popen[bytes]:
    """A process that asks one of the two engines."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.parallel",
        "--model",
        str(model),
        "--gpus",
        str(gpus or 0),
    ]
    command += ["--pipeline"] * args.pipeline + ["--executor", args.executor] * bool(args.executor)
    command += ["--prompts", str(args.prompts), "--answer", str(args.answer), "--dtype", args.dtype]
    seen = visible_gpus(Settings.from_env().visible_devices)
    alone = {"CUDA_VISIBLE_DEVICES": str(len(seen) - 1)} if gpus and seen else {}
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, **alone})


def read(process: subprocess.Popen[bytes]) -> list[Answer]:
    lines = process.communicate()[0].splitlines()
    if process.returncode:
        raise SystemExit(process.returncode)
    return [Answer(**answer) for answer in json.loads(lines[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--answer", type=int, default=64)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--shape", default="llama-1b")
    parser.add_argument(
        "--pipeline", action="store_true", help="half of the layers on each, not half of each layer"
    )
    parser.add_argument("--executor", choices=("mp", "ray"), help="of the side with all GPUs")
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--gpus", type=int, help=argparse.SUPPRESS
    )  # of this side; 0: nothing is said
    args = parser.parse_args()
    if args.gpus is None:
        model = ensure_model(
            Path(tempfile.gettempdir()) / f"openllm-bench-{args.shape}", args.shape
        )
        sides = [side(args, model, gpus) for gpus in (None, 1)]
        print(compare(*map(read, sides)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    draw = random.Random(0)
    prompts = [[draw.randrange(300, 2000) for _ in range(100)] for _ in range(args.prompts)]
    spec = LLMSpec(
        model_id=str(args.model), backend="vllm", max_model_len=512, kv_cache_memory=CACHE
    )
    spec = attrs.evolve(
        spec, gpu_memory_utilization=SHARE, tensor_parallel_size=args.gpus or None, dtype=args.dtype
    )
    if args.pipeline and not args.gpus:
        spec = attrs.evolve(spec, tensor_parallel_size=1, pipeline_parallel_size=2)
    if args.executor and not args.gpus:
        spec = attrs.evolve(spec, distributed_executor=args.executor)
    print(
        json.dumps(
            [attrs.asdict(answer) for answer in asyncio.run(answers(spec, prompts, args.answer))]
        )
    )


if __name__ == "__main__":
    main()
