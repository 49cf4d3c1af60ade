"""A new-style service with two models as dependencies: what tests/bento/runner/test_handles.py
serves.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

import bentoml

import openllm

parrot = openllm.Runner(
    os.environ["ECHO_MODEL"], backend="echo", name="parrot", engine_args={"delay": 0.02}
)
tiny = openllm.Runner(
    os.environ["TINY_MODEL"],
    backend="pytorch",
    name="tiny",
    adapters=[f"{os.environ['TINY_ADAPTER']}:pirate"],
)


@bentoml.service(name="both")
class Both:
    parrot = openllm.bento.depends(parrot)
    tiny = openllm.bento.depends(tiny)

    @bentoml.api
    async def whole(self, model: str, text: str, adapter: str | None = None) -> str:
        llm = self.parrot if model == "parrot" else self.tiny
        answer = await llm.generate(
            text, adapter_name=adapter, max_tokens=8, temperature=0, ignore_eos=True
        )
        return answer.text

    @bentoml.api
    async def along(self, model: str, text: str, max_tokens: int = 8) -> AsyncGenerator[str, None]:
        llm = self.parrot if model == "parrot" else self.tiny
        async for piece in llm.generate_iterator(
            text, max_tokens=max_tokens, temperature=0, ignore_eos=True
        ):
            yield piece.outputs[0].text

    @bentoml.api
    def plainly(self, model: str, text: str) -> str:
        """A synchronous API."""
        llm = self.parrot if model == "parrot" else self.tiny
        stream = llm.run(llm.generate_iterator(text, max_tokens=8, temperature=0, ignore_eos=True))
        return "".join(piece.outputs[0].text for piece in stream)

    @bentoml.api
    async def embed(self, texts: list[str]) -> list[list[float]]:
        return (await self.parrot.embed(texts)).vectors

    @bentoml.api
    async def started(self) -> list[bool]:
        return [self.parrot.started, self.tiny.started]

    @bentoml.api
    async def running(self) -> int:
        return self.parrot.stats().running + self.tiny.stats().running
