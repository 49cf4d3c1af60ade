"""An engine under load in its own process, without HTTP: what the servers are held against.

KIND is `asyncllm` (vLLM's AsyncLLM.generate, with text), `backend` (openllm's Backend.generate,
token deltas), or `llm` (openllm's LLM, text deltas: all of a request but HTTP). Reads one level of
load per line of its input, as JSON, and prints what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs

from benchmarks.loadgen import Answer, Load, prompts, summed
from openllm.answer.generation import join_text
from openllm.backends.stream import deltas, pull
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.types import GenerationRequest, SamplingParams, TokenRequest, new_request_id

Ask = Callable[
    [list[int], int], AsyncIterator[int]
]  # prompt, answer length -> tokens of each delta


def params(answer: int) -> SamplingParams:
    return SamplingParams(max_tokens=answer, ignore_eos=True, temperature=0.0)


@contextlib.asynccontextmanager
async def asyncllm(spec: LLMSpec) -> AsyncIterator[Ask]:
    """vLLM's own front, as it is: the configuration `vllm serve` uses, its loggers off."""
    from openllm.backends.vllm.launch import engine_config, plan_arguments

    settings = Settings.from_env()
    config = engine_config(plan_arguments(spec, Path(spec.model_id), settings))
    from vllm.sampling_params import RequestOutputKind
    from vllm.sampling_params import SamplingParams as VllmSamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_vllm_config(config, disable_log_stats=True)

    async def ask(prompt: list[int], answer: int) -> AsyncIterator[int]:
        sampling = VllmSamplingParams(
            max_tokens=answer, ignore_eos=True, temperature=0.0, output_kind=RequestOutputKind.DELTA
        )
        inputs: Any = {"type": "token", "prompt_token_ids": prompt}
        async for output in engine.generate(inputs, sampling, new_request_id()):
            yield len(output.outputs[0].token_ids)

    yield ask
    await asyncio.to_thread(engine.shutdown)


@contextlib.asynccontextmanager
async def backend(spec: LLMSpec) -> AsyncIterator[Ask]:
    from openllm.backends.select import select_backend

    settings = Settings.from_env()
    engine = select_backend(spec, settings)[0](spec, Path(spec.model_id), settings)
    await engine.start()

    async def ask(prompt: list[int], answer: int) -> AsyncIterator[int]:
        async for delta in deltas(engine, TokenRequest(new_request_id(), prompt, params(answer))):
            yield len(delta.token_ids)

    yield ask
    await engine.close()


@contextlib.asynccontextmanager
async def llm(spec: LLMSpec) -> AsyncIterator[Ask]:
    from openllm.llm.llm import LLM

    async with LLM.from_spec(spec, Path(spec.model_id)) as model:

        async def ask(prompt: list[int], answer: int) -> AsyncIterator[int]:
            generation = await model.admit(GenerationRequest(prompt, params(answer)))
            async for delta in pull(generation.begin, generation.choices, join_text):
                yield len(delta.token_ids)

        yield ask


async def client(ask: Ask, load: Load, requests: list[list[int]]) -> list[Answer]:
    """One stream: its requests one after the other."""
    answers = []
    for prompt in requests:
        answer = Answer(time.monotonic())
        async for tokens in ask(prompt, load.answer):
            answer.last = time.monotonic()
            answer.first = answer.first or answer.last
            answer.tokens += tokens
            answer.events += 1
        if answer.tokens != load.answer:
            answer.error = f"{answer.tokens} tokens instead of {load.answer}"
        answers.append(answer)
    return answers


async def orders() -> AsyncIterator[Load]:
    """What standard input asks for, until it ends."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield Load(**json.loads(line))


async def measure(kind: str, spec: LLMSpec) -> None:
    begun = time.monotonic()
    fronts = {"asyncllm": asyncllm, "backend": backend, "llm": llm}
    async with fronts[kind](spec) as ask:
        print(json.dumps({"ready": time.monotonic() - begun}), flush=True)
        gc.collect()
        gc.freeze()
        async for load in orders():
            asked = prompts(load, range(load.streams)).values()
            spent = time.process_time()
            answers = await asyncio.gather(*(client(ask, load, requests) for requests in asked))
            spent = time.process_time() - spent
            figures = summed(load, [answer for stream in answers for answer in stream])
            figures = attrs.evolve(figures, cpu_per_token=spent / max(figures.tokens, 1))
            print(json.dumps(attrs.asdict(figures)), flush=True)


def main() -> None:
    import uvloop

    order = json.loads(sys.argv[1])
    uvloop.run(measure(order["kind"], LLMSpec.from_dict(order["spec"])))


if __name__ == "__main__":
    main()
