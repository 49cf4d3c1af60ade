"""The layers that benchmarks.guard measures, each as work that can be repeated in one process, and
the loops that their cost is a multiple of.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.shapes import ROOT, TINY, write_model
from openllm.backends.base import Backend
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.http.app import Server, create_app
from openllm.http.inside import post
from openllm.llm.llm import LLM
from openllm.types import SamplingParams, TokenDelta, TokenRequest, new_request_id
from openllm.weights.tokenizer import load_tokenizer

ANSWER = 150  # tokens of a streamed answer
AT_ONCE = 8  # requests at a time
STEPS = 40  # decode steps in a slice
PROMPT = [400, 500, 600] * 42 + [400, 500]
WORDS = (
    "one",
    "engine",
    "reads",
    "token",
    "ids",
    "and",
    "gives",
    "deltas",
    "step",
    "by",
    "request",
)


@attrs.frozen
class Layer:
    """`run` does its work once: `units` of what it is counted in, by itself; `reference` names the
    loop that it is held against.
    """

    name: str
    reference: str
    units: int
    run: Callable[[], Awaitable[None]]


@attrs.frozen
class Loop:
    """A reference: `run` does the same work `rounds` times, and nothing of ours is part of it."""

    rounds: int
    run: Callable[[], Awaitable[None]]


async def many_tasks(rounds: int) -> None:
    """What a front does for a token: tasks that take turns, small objects, dictionaries, JSON."""

    async def one(count: int) -> None:
        for at in range(count):
            await asyncio.sleep(0)
            said = f"{WORDS[at % len(WORDS)]} {at}"
            fields = {"index": at, "delta": {"content": said}, "finish_reason": None}
            body = json.dumps(fields).encode()
            _ = [part.strip() for part in body.split(b",") if part]

    await asyncio.gather(*(one(rounds // AT_ONCE) for _ in range(AT_ONCE)))


def plain_requests(tokenizer: Any, rounds: int) -> Callable[[], Awaitable[None]]:
    """Chats to a Starlette application of a few lines, which renders and encodes them in a thread
    and answers how many tokens they have.
    """
    texts = chats()
    template = Environment().from_string(
        "{% for one in messages %}{{ one['role'] }}: {{ one['content'] }}\n{% endfor %}"
    )

    async def count(request: Request) -> JSONResponse:
        fields = await request.json()
        text = template.render(messages=fields["messages"])
        ids = await asyncio.to_thread(tokenizer.encode, text)
        return JSONResponse({"usage": {"prompt_tokens": len(ids)}, "model": fields["model"]})

    app = Starlette(routes=[Route("/count", count, methods=["POST"])])

    async def run() -> None:
        for _ in range(rounds // AT_ONCE):
            said = [[{"role": "user", "content": next(texts)}] for _ in range(AT_ONCE)]
            bodies = [json.dumps({"model": "bench", "messages": one}).encode() for one in said]
            await asyncio.gather(*(post(app, "/count", body) for body in bodies))

    return run


def plain_steps(model: Path, steps: int) -> Callable[[], Awaitable[None]]:
    """Decode steps of transformers' own model and cache, by a thread that tells the event loop of
    each.
    """
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    plain = AutoModelForCausalLM.from_pretrained(model).eval()

    def decode(loop: asyncio.AbstractEventLoop, told: list[int]) -> None:
        with torch.inference_mode():
            cache, row = DynamicCache(config=plain.config), torch.tensor([PROMPT])
            for _ in range(steps):
                logits = plain(row, past_key_values=cache, logits_to_keep=1).logits
                row = logits[:, -1].argmax(-1, keepdim=True)
                loop.call_soon_threadsafe(told.append, int(row))

    async def run() -> None:
        await asyncio.to_thread(decode, asyncio.get_running_loop(), [])

    return run


def reference_loops(model: Path) -> dict[str, Loop]:
    """By name; `model` is that of the engines."""
    tokenizer = load_tokenizer(model)
    return {
        "tasks": Loop(4000, lambda: many_tasks(4000)),
        "requests": Loop(80, plain_requests(tokenizer, 80)),
        "steps": Loop(STEPS, plain_steps(model, STEPS)),
    }


class Dropped:
    """A sink that keeps nothing, and knows when its answer has ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def put(self, delta: TokenDelta) -> None:
        if delta.finish_reason is not None:
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        self.ended.set_exception(error)


async def answered(backend: Backend, rows: int, tokens: int) -> None:
    """`rows` answers of an engine at once, to nobody."""
    params = SamplingParams(max_tokens=tokens, ignore_eos=True, temperature=0.0)
    sinks = [Dropped() for _ in range(rows)]
    for sink in sinks:
        await backend.submit(TokenRequest(new_request_id(), PROMPT, params), sink)
    await asyncio.gather(*(sink.ended for sink in sinks))


def chats() -> Iterator[str]:
    """Texts of about 1 KB, each another one."""
    for seed in itertools.count():
        yield " ".join(random.Random(seed).choices(WORDS, k=180))


@attrs.frozen
class Application:
    """Requests to the application of `openllm start`, sent to it as its server would."""

    app: Server

    async def stream(self, **fields: Any) -> None:
        """`AT_ONCE` answers of `ANSWER` tokens."""
        await self._send("/v1/completions", [{"prompt": PROMPT, **fields}] * AT_ONCE, ANSWER)

    async def take(self, path: str, bodies: Iterator[dict[str, Any]], count: int) -> None:
        """`count` requests whose answer is one token, `AT_ONCE` at a time."""
        for _ in range(count // AT_ONCE):
            await self._send(path, list(itertools.islice(bodies, AT_ONCE)), 1)

    async def _send(self, path: str, asked: list[dict[str, Any]], tokens: int) -> None:
        common = {"model": "bench", "max_tokens": tokens, "ignore_eos": True, "stream": True}
        bodies = [json.dumps({**common, "temperature": 0, **fields}).encode() for fields in asked]
        for answer in await asyncio.gather(*(post(self.app, path, body) for body in bodies)):
            if answer.status != 200 or b"data: [DONE]" not in answer.body:
                raise SystemExit(f"the application answered: {answer.body[:300]!r}")


@contextlib.asynccontextmanager
async def started_layers(model: Path) -> AsyncIterator[list[Layer]]:
    """The layers over engines that are up, the lowest first: a layer's cost has those in it that
    it stands on.
    """
    async with contextlib.AsyncExitStack() as stack:
        echo, torch = [
            await stack.enter_async_context(LLM.from_spec(_spec(model, name), model))
            for name in ("echo", "pytorch")
        ]
        # `send` of `post` stands for uvicorn's, and like it needs no task
        stack.enter_context(mock.patch("openllm.http.stream.direct", return_value=True))
        front = Application(create_app([echo], Settings()))
        yield [*_front_layers(echo, front), *_step_layers(torch)]


def _spec(model: Path, backend: str) -> LLMSpec:
    return LLMSpec(model_id=str(model), name="bench", backend=backend, max_num_seqs=64)


def _front_layers(echo: LLM, front: Application) -> list[Layer]:
    each, tokens = 750, AT_ONCE * ANSWER
    ids = itertools.repeat({"prompt": PROMPT})
    said = ({"messages": [{"role": "user", "content": text}]} for text in chats())
    drained = partial(answered, echo.backend, AT_ONCE, each)
    stop = partial(front.stream, stop=["<never>"])
    take_ids = partial(front.take, "/v1/completions", ids, 80)
    take_chats = partial(front.take, "/v1/chat/completions", said, 64)
    return [
        Layer("echo engine, a token", "tasks", AT_ONCE * each, drained),
        Layer("front, a token", "tasks", tokens, front.stream),
        Layer("front, a token beside a stop string", "tasks", tokens, stop),
        Layer("a request of token ids", "requests", 80, take_ids),
        Layer("a request of chat, 1 KB", "requests", 64, take_chats),
    ]


def _step_layers(llm: LLM) -> list[Layer]:
    return [
        Layer(
            f"PyTorch engine, a step of {said}",
            "steps",
            STEPS,
            partial(answered, llm.backend, rows, STEPS),
        )
        for rows, said in ((1, "one row"), (16, "16 rows"))
    ]


def write_guarded_model(path: Path) -> Path:
    """A tiny model with the demo's tokenizer and chat template."""
    write_model(path, {**TINY, "vocab_size": 2560})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "openllm" / "demo" / name, path / name)
    return path
