"""The class that BentoML makes one of in each runner process: an LLM, its methods and its loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar

import bentoml.legacy

from openllm.backends.base import EngineStats
from openllm.hardware.gpus import gpus_needed
from openllm.llm.llm import LLM
from openllm.llm.loops import LoopThread
from openllm.types import GenerationOutput, Prompt

# What BentoML calls the resources that a runner may have.
NVIDIA, AMD, CPU = "nvidia.com/gpu", "amd.com/gpu", "cpu"


class LLMRunnable(bentoml.legacy.Runnable):  # type: ignore[misc]  # bentoml has no types
    """A runnable around `source`: made, it has loaded the model and mounted the adapters."""

    SUPPORTED_RESOURCES = (NVIDIA, AMD, CPU)
    SUPPORTS_CPU_MULTI_THREADING = True
    GPUS: ClassVar[int]  # that one worker cannot do without
    source: ClassVar[LLM]

    def __init__(self) -> None:
        llm = self.llm = self.source
        self.thread = LoopThread()
        self._ours = not llm.started
        self.thread.run(llm.start())

    # bentoml has no types
    @bentoml.legacy.Runnable.method(batchable=False)  # type: ignore[untyped-decorator]
    async def generate(self, prompt: Prompt, **options: Any) -> GenerationOutput:
        """`LLM.generate`: `adapter_name` and sampling parameters by name."""
        return await self.llm.generate(prompt, **options)

    # bentoml has no types
    @bentoml.legacy.Runnable.method(batchable=False)  # type: ignore[untyped-decorator]
    async def generate_iterator(
        self, prompt: Prompt, **options: Any
    ) -> AsyncGenerator[GenerationOutput, None]:
        """`LLM.generate_iterator`: what is new, as it comes; closing it cancels."""
        items: Any = self.llm.generate_iterator(prompt, **options)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()

    # as above
    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)  # type: ignore[untyped-decorator]
    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of length 1 per text; BentoML joins the texts of callers that come
        together.
        """
        return (await self.llm.embed(list(texts))).vectors

    # bentoml has no types
    @bentoml.legacy.Runnable.method(batchable=False)  # type: ignore[untyped-decorator]
    async def adapters(self) -> tuple[str, ...]:
        """The names that `adapter_name` may have."""
        return self.llm.adapters

    # bentoml has no types
    @bentoml.legacy.Runnable.method(batchable=False)  # type: ignore[untyped-decorator]
    async def stats(self) -> EngineStats:
        """How busy the engine is."""
        return self.llm.stats()

    def close(self) -> None:
        """Stop the engine if it was started for this."""
        if self._ours:
            self.thread.run(self.llm.aclose())
        self.thread.stop()


def make_runnable(llm: LLM) -> type[LLMRunnable]:
    """The runnable class of `llm`."""
    return type("LLMRunnable", (LLMRunnable,), {"GPUS": gpus_needed(llm.spec), "source": llm})
