"""A model as a Runner in a service of BentoML's first kind.

cd examples/legacy_runner && bentoml serve service.py:svc
curl localhost:3000/ask -H 'Content-Type: text/plain' -d 'What is a Bento?'
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import bentoml
from bentoml.io import Text

import openllm

runner = openllm.Runner("demo")
svc = bentoml.legacy.Service("asker", runners=[runner])


@svc.api(input=Text(), output=Text())
async def ask(text: str) -> str:
    """The whole answer."""
    answer = await runner.generate.async_run(text, max_tokens=64)
    return str(answer.text)


@svc.api(input=Text(), output=Text())
async def ask_along(text: str) -> AsyncGenerator[str, None]:
    """The answer as it comes."""
    async for piece in runner.generate_iterator.async_stream(text, max_tokens=64):
        yield piece.outputs[0].text
