"""A model as a dependency of a service that is otherwise entirely your own: no endpoint but the
ones below.

cd examples/depends && bentoml serve
curl localhost:3000/classify -H 'Content-Type: application/json' -d '{"text": "I like it"}'
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import bentoml

import openllm

runner = openllm.Runner("demo")


@bentoml.service(name="classifier")
class Classifier:
    """Asks the model for one of three words."""

    llm = openllm.bento.depends(runner)  # an openllm.LLM; its engine has a process of its own

    @bentoml.api
    async def classify(self, text: str) -> str:
        """good, bad or neither."""
        words = openllm.Structure(openllm.StructureKind.CHOICE, '["good", "bad", "neither"]')
        question = f"Is this good or bad? {text}"
        answer = await self.llm.chat(
            [{"role": "user", "content": question}], structure=words, max_tokens=8
        )
        return answer.text

    @bentoml.api
    async def continue_text(
        self, text: str, max_tokens: int = 64, adapter: str | None = None
    ) -> AsyncGenerator[str, None]:
        """The text's continuation as it comes, by an adapter if one is named."""
        async for piece in self.llm.generate_iterator(
            text, adapter_name=adapter, max_tokens=max_tokens
        ):
            yield piece.outputs[0].text
