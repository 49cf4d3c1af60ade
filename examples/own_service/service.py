"""Your own APIs beside OpenAI's endpoints, on one port.

    cd examples/own_service && bentoml serve
    curl localhost:3000/shout -H 'Content-Type: application/json' -d '{"text": "What is a Bento?"}'
    curl localhost:3000/v1/chat/completions -H 'Content-Type: application/json' \
        -d '{"messages": [{"role": "user", "content": "What is a Bento?"}]}'
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import bentoml

import openllm


@openllm.bento.service("demo", name="shouter")
class Shouter:
    """Answers in capital letters."""

    llm: openllm.LLM  # for type checkers; openllm.bento.service sets it

    @bentoml.api
    async def shout(self, text: str, max_tokens: int = 64) -> str:
        """The whole answer."""
        answer = await self.llm.chat([{"role": "user", "content": text}], max_tokens=max_tokens)
        return answer.text.upper()

    @bentoml.api
    async def shout_along(self, text: str, max_tokens: int = 64) -> AsyncGenerator[str, None]:
        """The answer as it comes; when the caller leaves, the engine stops."""
        async for piece in self.llm.generate_iterator(text, max_tokens=max_tokens):
            yield piece.outputs[0].text.upper()
