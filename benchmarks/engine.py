"""The PyTorch engine beside transformers' continuous batching and sequential generate(), on one random model, fp32.

python -m benchmarks.engine [--streams 1 4 16] [--tokens 64] [--rounds 3]

Tokens per CPU-second of this process (one torch thread; other work on the machine matters little) and the worst time to
first token when all streams arrive at once. The three take turns; each figure is the median of the rounds.
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
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig, LlamaConfig, logging

from openllm.backends.pytorch import BACKEND
from openllm.spec import LLMSpec
from openllm.types import EngineRequest, SamplingParams

MODEL = {
    "vocab_size": 32000,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "eos_token_id": None,
    "bos_token_id": None,
}
PROMPTS = (64, 128)  # tokens, from and to


@attrs.frozen
class Figure:
    """One engine in one round."""

    tokens_per_cpu_second: float
    worst_ttft: float  # seconds


@attrs.frozen
class Load:
    """What every engine is asked: the prompts, all at once, and how many tokens each answer has."""

    prompts: list[list[int]]
    tokens: int

    def figure(self, cpu_seconds: float, first_tokens: list[float]) -> Figure:
        return Figure(len(self.prompts) * self.tokens / cpu_seconds, max(first_tokens))


def write_model(path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**MODEL), dtype=torch.float32)
    print(f"model: {sum(p.numel() for p in model.parameters()) / 1e6:.0f}M parameters, fp32, 1 thread")
    model.save_pretrained(path)


def make_load(streams: int, tokens: int, seed: int) -> Load:
    chooser = random.Random(seed)
    lengths = [chooser.randint(*PROMPTS) for _ in range(streams)]
    return Load([[chooser.randrange(MODEL["vocab_size"]) for _ in range(length)] for length in lengths], tokens)


async def run_openllm(backend: Any, load: Load) -> Figure:
    params = SamplingParams(temperature=0.0, max_tokens=load.tokens, ignore_eos=True)
    began, cpu, first = time.perf_counter(), time.process_time(), []

    async def ask(at: int, prompt: list[int]) -> None:
        waiting = True
        async for _ in backend.generate(EngineRequest(str(at), prompt, params)):
            if waiting:
                first.append(time.perf_counter() - began)
                waiting = False

    await asyncio.gather(*(ask(at, prompt) for at, prompt in enumerate(load.prompts)))
    return load.figure(time.process_time() - cpu, first)


def run_continuous_batching(model: Any, load: Load) -> Figure:
    generation = GenerationConfig(max_new_tokens=load.tokens, do_sample=False, eos_token_id=-1)
    config = ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=512)
    with model.continuous_batching_context_manager(generation, continuous_batching_config=config) as manager:
        first: dict[str, float] = {}
        open_requests = len(load.prompts)
        began, cpu = time.perf_counter(), time.process_time()
        for at, prompt in enumerate(load.prompts):
            manager.add_request(prompt, request_id=str(at), max_new_tokens=load.tokens, streaming=True, eos_token_id=-1)
        while open_requests:
            result = manager.get_result(timeout=1)
            if result is not None:
                first.setdefault(result.request_id, time.perf_counter() - began)
                open_requests -= result.is_finished()
        cpu = time.process_time() - cpu
    return load.figure(cpu, list(first.values()))


def run_generate(model: Any, load: Load) -> Figure:
    began, cpu, first = time.perf_counter(), time.process_time(), []
    for prompt in load.prompts:
        start = time.perf_counter()
        ids = torch.tensor([prompt])
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=load.tokens)
        # generate() tells of no first token: take its share of the call, which flatters it.
        first.append(start - began + (time.perf_counter() - start) / load.tokens)
    return load.figure(time.process_time() - cpu, first)


async def measure(path: Path, options: argparse.Namespace) -> None:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
    # Prefixes off: the rounds repeat their prompts, and it is computing that is compared.
    spec = LLMSpec(model_id=str(path), dtype="float32", device="cpu", enable_prefix_caching=False)
    backend = BACKEND(spec, path)
    await backend.start()
    try:
        for streams in options.streams:
            figures: dict[str, list[Figure]] = {"openllm": [], "continuous batching": [], "generate()": []}
            for turn in range(options.rounds + 1):
                load = make_load(streams, options.tokens, turn)
                figures["openllm"].append(await run_openllm(backend, load))
                figures["continuous batching"].append(await asyncio.to_thread(run_continuous_batching, model, load))
                figures["generate()"].append(await asyncio.to_thread(run_generate, model, load))
            report(streams, {name: rounds[1:] for name, rounds in figures.items()})  # the first warms up
    finally:
        await backend.close()


def report(streams: int, figures: dict[str, list[Figure]]) -> None:
    speed = {name: statistics.median(f.tokens_per_cpu_second for f in rounds) for name, rounds in figures.items()}
    ttft = {name: statistics.median(f.worst_ttft for f in rounds) for name, rounds in figures.items()}
    for name in figures:
        ratio = speed["openllm"] / speed[name]
        print(
            f"{streams:3} streams  {name:20} {speed[name]:7.1f} tokens/CPU-s  openllm is {ratio:4.2f}x"
            f"  worst TTFT {ttft[name]:5.2f} s",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        asyncio.run(measure(Path(folder), options))


if __name__ == "__main__":
    main()
