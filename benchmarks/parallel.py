"""One model on all visible GPUs and on one: the plan that was made by itself, and whether the tokens are the same.

    python -m benchmarks.parallel [--prompts 32] [--answer 64]

Greedy answers in bf16. Two kernels round differently, so where the answers part, the two best tokens must have been as
good as equal (the gap of their log probabilities is printed).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import tempfile
import time
from pathlib import Path

from benchmarks.shapes import ensure_model
from openllm.llm import LLM
from openllm.spec import LLMSpec
from openllm.types import GenerationOutput


async def answers(spec: LLMSpec, prompts: list[list[int]], tokens: int) -> list[GenerationOutput]:
    """The greedy answers, all asked at once."""
    async with LLM.from_spec(spec, Path(spec.model_id)) as llm:
        begun = time.monotonic()
        ask = {"temperature": 0, "max_tokens": tokens, "ignore_eos": True, "logprobs": 2}
        found = await asyncio.gather(*(llm.generate(prompt, **ask) for prompt in prompts))
        print(f"{len(prompts) * tokens / (time.monotonic() - begun):,.0f} tokens/s on {llm.info.device}")
        return list(found)


def compare(one: list[GenerationOutput], other: list[GenerationOutput]) -> str:
    """How many answers are equal, and how sure the first differing token was where they are not."""
    equal, gaps = 0, []
    for first, second in zip(one, other, strict=True):
        ids = list(zip(first.outputs[0].token_ids, second.outputs[0].token_ids, strict=True))
        at = next((at for at, (a, b) in enumerate(ids) if a != b), None)
        if at is None:
            equal += 1
        elif (logprobs := first.outputs[0].logprobs) is not None:
            best, next_best = (logprob for _, logprob in logprobs[at].top[:2])
            gaps.append(best - next_best)
    text = f"{equal} of {len(one)} answers are equal token for token"
    return text + (f"; where the others part, the two best were {max(gaps):.4f} apart at most" if gaps else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--answer", type=int, default=64)
    parser.add_argument("--shape", default="llama-1b")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = ensure_model(Path(tempfile.gettempdir()) / f"openllm-bench-{args.shape}", args.shape)
    draw = random.Random(0)
    prompts = [[draw.randrange(300, 2000) for _ in range(100)] for _ in range(args.prompts)]
    alone = LLMSpec(model_id=str(model), backend="vllm", max_model_len=512, tensor_parallel_size=1)
    itself = LLMSpec(model_id=str(model), backend="vllm", max_model_len=512)
    print(
        compare(asyncio.run(answers(itself, prompts, args.answer)), asyncio.run(answers(alone, prompts, args.answer)))
    )


if __name__ == "__main__":
    main()
