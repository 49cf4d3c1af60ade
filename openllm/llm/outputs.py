"""The answer to an admitted request as an `LLM`'s callers get it: whole, or what is new as it
comes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from openllm.answer.generation import Generation, collect, join_text, raise_failure
from openllm.backends.stream import pull
from openllm.types import CompletionOutput, GenerationOutput

Admit = Callable[[], Awaitable[Generation]]


async def whole(admit: Admit) -> GenerationOutput:
    """Errors: those of `admit`, Overloaded, EngineError, EngineDead."""
    return await collect(await admit())


async def pieces(admit: Admit) -> AsyncGenerator[GenerationOutput, None]:
    """One output for each delta, and the usage so far. What belongs to the prompt comes once: its
    token ids with the first piece, its logprobs with the first of choice 0. Errors: as of `whole`.
    """
    generation = await admit()
    prompt = generation.prompt_token_ids
    async with aclosing(pull(generation.begin, generation.choices, join_text)) as deltas:
        async for delta in deltas:
            raise_failure(delta)
            output = CompletionOutput(
                delta.index,
                delta.text,
                delta.token_ids,
                delta.finish_reason,
                delta.stop_reason,
                delta.logprobs,
                delta.parts,
            )
            yield GenerationOutput(
                generation.request_id, prompt, [output], generation.usage, delta.prompt_logprobs
            )
            prompt = []
