"""A service of BentoML's first kind with two Runners: what tests/bento/runner/test_handles.py
serves.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import bentoml
from bentoml.io import JSON, Text

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
svc = bentoml.legacy.Service("both", runners=[parrot, tiny])
GREEDY = {"temperature": 0, "ignore_eos": True}


def _runner(request: dict[str, Any]) -> Any:
    return parrot if request["model"] == "parrot" else tiny


@svc.api(input=JSON(), output=JSON())
async def started(_: dict[str, Any]) -> list[bool]:
    return [await runner.runner_handle_is_ready() for runner in (parrot, tiny)]


@svc.api(input=JSON(), output=Text())
async def whole(request: dict[str, Any]) -> str:
    answer = await _runner(request).generate.async_run(
        request["text"], adapter_name=request.get("adapter"), max_tokens=8, **GREEDY
    )
    return str(answer.text)


@svc.api(input=JSON(), output=Text())
async def along(request: dict[str, Any]) -> AsyncGenerator[str, None]:
    stream = _runner(request).generate_iterator.async_stream
    async for piece in stream(request["text"], max_tokens=request.get("max_tokens", 8), **GREEDY):
        yield piece.outputs[0].text


@svc.api(input=JSON(), output=Text())
def plainly(request: dict[str, Any]) -> str:
    """A synchronous API."""
    stream = _runner(request).generate_iterator.run(request["text"], max_tokens=8, **GREEDY)
    return "".join(piece.outputs[0].text for piece in stream)


@svc.api(input=JSON(), output=JSON())
async def embed(request: dict[str, Any]) -> list[list[float]]:
    vectors: list[list[float]] = await parrot.embed.async_run(request["texts"])
    return vectors


@svc.api(input=JSON(), output=JSON())
async def running(request: dict[str, Any]) -> int:
    first, second = await parrot.stats.async_run(), await tiny.stats.async_run()
    return int(first.running + second.running)
