"""The PyTorch engine beside transformers' continuous batching and sequential generate(), on one
random model.

python -m benchmarks.engine [--streams 1 4 16] [--tokens 64] [--rounds 3] python -m
benchmarks.engine --device cuda --dtype bfloat16 --shape llama-1b --streams 1 32 --tokens 256

Tokens per CPU-second of this process (one torch thread; other work on the machine matters little),
tokens per second of the clock (what counts on a GPU), and the worst time to first token when all
streams arrive at once. The three take turns; each figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import torch
from transformers import (
    AutoModelForCausalLM,
    ContinuousBatchingConfig,
    GenerationConfig,
    LlamaConfig,
    logging,
)

from openllm.backends.pytorch.backend import BACKEND
from openllm.backends.stream import deltas
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.types import SamplingParams, TokenRequest

COMMON = {
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "eos_token_id": None,
    "bos_token_id": None,
}
SHAPES = {
    "small": {
        "vocab_size": 32000,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "llama-1b": {  # that of Llama 3.2 1B
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
}
PROMPTS = (64, 128)  # tokens, from and to
VOCABULARY = 32000  # prompts are made of ids below it


@attrs.frozen
class Figure:
    """One engine in one round."""

    tokens_per_cpu_second: float
    tokens_per_second: float
    worst_ttft: float  # seconds


@attrs.frozen
class Load:
    """What every engine is asked: the prompts, all at once, and how many tokens each answer has."""

    prompts: list[list[int]]
    tokens: int

    def figure(self, began: Began, first_tokens: list[float]) -> Figure:
        tokens = len(self.prompts) * self.tokens
        cpu, clock = time.process_time() - began.cpu, time.perf_counter() - began.clock
        return Figure(tokens / cpu, tokens / clock, max(first_tokens))


@attrs.frozen
class Began:
    clock: float = attrs.field(factory=time.perf_counter)
    cpu: float = attrs.field(factory=time.process_time)

    def elapsed(self) -> float:
        return time.perf_counter() - self.clock


def write_model(path: Path, options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    with torch.device(options.device):
        config = LlamaConfig(**COMMON, **SHAPES[options.shape])
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, options.dtype))
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"model: {size:.0f}M parameters, {options.dtype}, {options.device}, 1 thread")
    model.save_pretrained(path)


def make_load(streams: int, tokens: int, seed: int) -> Load:
    chooser = random.Random(seed)
    lengths = [chooser.randint(*PROMPTS) for _ in range(streams)]
    return Load(
        [[chooser.randrange(VOCABULARY) for _ in range(length)] for length in lengths], tokens
    )


async def run_openllm(backend: Any, load: Load) -> Figure:
    params = SamplingParams(temperature=0.0, max_tokens=load.tokens, ignore_eos=True)
    began, first = Began(), []

    async def ask(at: int, prompt: list[int]) -> None:
        waiting = True
        async for _ in deltas(backend, TokenRequest(str(at), prompt, params)):
            if waiting:
                first.append(began.elapsed())
                waiting = False

    await asyncio.gather(*(ask(at, prompt) for at, prompt in enumerate(load.prompts)))
    return load.figure(began, first)


def run_continuous_batching(model: Any, load: Load) -> Figure:
    generation = GenerationConfig(max_new_tokens=load.tokens, do_sample=False, eos_token_id=-1)
    bounds = {"num_blocks": 64, "max_batch_tokens": 512} if model.device.type == "cpu" else {}
    config = ContinuousBatchingConfig(**bounds)
    with model.continuous_batching_context_manager(
        generation, continuous_batching_config=config
    ) as manager:
        first: dict[str, float] = {}
        open_requests = len(load.prompts)
        began = Began()
        for at, prompt in enumerate(load.prompts):
            manager.add_request(
                prompt,
                request_id=str(at),
                max_new_tokens=load.tokens,
                streaming=True,
                eos_token_id=-1,
            )
        while open_requests:
            result = manager.get_result(timeout=1)
            if result is not None:
                first.setdefault(result.request_id, began.elapsed())
                open_requests -= result.is_finished()
        return load.figure(began, list(first.values()))


def run_generate(model: Any, load: Load) -> Figure:
    began, first = Began(), []
    for prompt in load.prompts:
        start = began.elapsed()
        ids = torch.tensor([prompt], device=model.device)
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=load.tokens
        )
        # generate() tells of no first token: take its share of the call, which flatters it.
        first.append(start + (began.elapsed() - start) / load.tokens)
    return load.figure(began, first)


async def measure(path: Path, options: argparse.Namespace) -> None:
    dtype = getattr(torch, options.dtype)
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation="sdpa"
    ).eval()
    model.to(options.device)
    # Prefixes off: the rounds repeat their prompts, and it is computing that is compared.
    spec = LLMSpec(
        model_id=str(path), dtype=options.dtype, device=options.device, enable_prefix_caching=False
    )
    backend = BACKEND(spec, path, Settings.from_env())
    await backend.start()
    try:
        for streams in options.streams:
            figures: dict[str, list[Figure]] = {
                "openllm": [],
                "continuous batching": [],
                "generate()": [],
            }
            for turn in range(options.rounds + 1):
                load = make_load(streams, options.tokens, turn)
                figures["openllm"].append(await run_openllm(backend, load))
                figures["continuous batching"].append(
                    await asyncio.to_thread(run_continuous_batching, model, load)
                )
                figures["generate()"].append(await asyncio.to_thread(run_generate, model, load))
            report(
                streams, {name: rounds[1:] for name, rounds in figures.items()}
            )  # the first warms up
    finally:
        await backend.close()


def report(streams: int, figures: dict[str, list[Figure]]) -> None:
    def medians(of: str) -> dict[str, float]:
        return {
            name: statistics.median(getattr(f, of) for f in rounds)
            for name, rounds in figures.items()
        }

    cpu, clock, ttft = (
        medians("tokens_per_cpu_second"),
        medians("tokens_per_second"),
        medians("worst_ttft"),
    )
    for name in figures:
        print(
            f"{streams:3} streams  {name:20} {cpu[name]:8.1f} tokens/CPU-s (openllm"
            f" {cpu['openllm'] / cpu[name]:5.2f}x) {clock[name]:8.1f} tokens/s"
            f" ({clock['openllm'] / clock[name]:5.2f}x)  worst TTFT {ttft[name]:6.2f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), options)
        asyncio.run(measure(Path(folder), options))


if __name__ == "__main__":
    main()
