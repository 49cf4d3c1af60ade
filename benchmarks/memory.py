"""Measure what the PyTorch engine takes of memory beside what the plan says, for several kinds of
models.

python -m benchmarks.memory [--kinds dense moe hybrid vision] [--device cpu] [--streams 4]

Each kind is written with random weights in bf16 and asked by so many streams at once whose prompts
and answers fill the context; all in child processes. On a CPU it is loaded in fp32, and the peak is
the highest resident size above that of the interpreter with the engine's libraries imported; on a
GPU, the most that torch held of it at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs

from openllm.backends.stream import deltas
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import LLMSpec
from openllm.types import SamplingParams, TokenRequest
from tests.tiny import write_tokenizer

KINDS = ("dense", "moe", "hybrid", "vision")
ANSWER = 8  # tokens; the prompt takes the rest of the context
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
TEXT: dict[str, Any] = {
    "vocab_size": 32768,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
EXPERTS: dict[str, Any] = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 640}
LINEAR: dict[str, Any] = {
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 2,
    "shared_expert_intermediate_size": 640,
    "linear_num_value_heads": 16,
    "linear_num_key_heads": 8,
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
}
SIGHT: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 10,
    "num_attention_heads": 12,
    "image_size": 224,
    "patch_size": 16,
}


def configuration(kind: str) -> Any:
    """transformers' configuration of one of KINDS."""
    import transformers

    if kind == "dense":
        return transformers.LlamaConfig(**TEXT)
    if kind == "moe":
        return transformers.Qwen3MoeConfig(**TEXT, **EXPERTS)
    if kind == "hybrid":
        return transformers.Qwen3NextConfig(**TEXT, **EXPERTS, **LINEAR)
    text = {**TEXT, "model_type": "llama"}
    return transformers.LlavaConfig(text_config=text, vision_config=SIGHT, image_token_index=5)


def write(kind: str, folder: Path) -> None:
    """A model of this kind with random weights in `folder`."""
    import torch
    import transformers

    auto = transformers.AutoModelForCausalLM
    if kind == "vision":
        auto = transformers.AutoModelForImageTextToText
    torch.manual_seed(0)
    auto.from_config(configuration(kind), dtype=torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder)


@attrs.frozen
class Load:
    """What a measured engine is asked for."""

    device: str
    streams: int
    context: int  # tokens of each stream, prompt and answer


def measure(folder: Path, load: Load) -> dict[str, int]:
    """Bytes that this process takes to serve `load` with the model in `folder`."""
    import torch

    import openllm.backends.pytorch.started  # noqa: F401  the libraries are part of the baseline
    from openllm.backends.pytorch.backend import BACKEND

    spec = LLMSpec(
        model_id=str(folder),
        backend="pytorch",
        max_model_len=load.context,
        max_num_seqs=load.streams,
        device=load.device,
    )
    baseline = _resident("VmRSS")
    CLEAR.write_text("5")  # forget the peak so far
    started: dict[str, int] = {}

    async def ask(backend: Any, at: int) -> None:
        prompt = [10 + (7 * at + 13 * place) % 300 for place in range(load.context - ANSWER)]
        params = SamplingParams(max_tokens=ANSWER, ignore_eos=True, temperature=0.0)
        async for _ in deltas(backend, TokenRequest(str(at), prompt, params)):
            pass

    async def serve() -> None:
        backend = BACKEND(spec, folder, Settings())
        await backend.start()
        started["started"] = _resident("VmHWM") - baseline
        await asyncio.gather(*(ask(backend, at) for at in range(load.streams)))
        await backend.close()

    asyncio.run(serve())
    if load.device != "cpu":
        return {"peak": int(torch.cuda.max_memory_reserved())}
    return {"peak": _resident("VmHWM") - baseline, **started}


def _resident(name: str) -> int:
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def planned(folder: Path, load: Load) -> int:
    """Bytes that the plan says for the same, without the interpreter or a GPU's context."""
    from openllm.llm.planning import plan

    found = plan(
        LLMSpec(
            model_id=str(folder),
            backend="pytorch",
            max_model_len=load.context,
            max_num_seqs=load.streams,
            device=load.device,
        ),
        Settings(),
    )
    return found.memory.peak - found.memory.process


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def compare(kinds: list[str], load: Load, models: Path) -> None:
    """Measure each kind and print a row for each."""
    rows = []
    for kind in kinds:
        folder = models / kind
        _child("--write", kind, "--models", str(models))
        said = json.loads(
            _child(
                "--measure",
                str(folder),
                *("--device", load.device, "--streams", str(load.streams)),
                *("--context", str(load.context)),
            ).splitlines()[-1]
        )
        plan = planned(folder, load)
        rows.append(
            (kind, readable_size(plan), readable_size(said["peak"]), f"{plan / said['peak']:.2f}x")
        )
    for row in [("model", "planned", "measured peak", ""), ("---",) * 4, *rows]:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--models", type=Path, help="Where models are written, and kept.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", choices=KINDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    load = Load(args.device, args.streams, args.context)
    if args.write:
        if not (args.models / args.write / "config.json").exists():
            write(args.write, args.models / args.write)
    elif args.measure:
        print(json.dumps(measure(args.measure, load)))
    elif args.models:
        compare(args.kinds, load, args.models)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(args.kinds, load, Path(folder))


if __name__ == "__main__":
    main()
