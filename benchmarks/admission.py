"""What it costs to take a request, in CPU time of the answering process; the engine is replaced by
one that costs almost nothing (benchmarks.front), and every answer is one token.

    python -m benchmarks.admission [--rounds 5] [--requests 256]

`asyncllm` is vLLM's own front, given 128 token ids; every other case is a body posted to the
application of `openllm start`. The long prompts have about 30,000 tokens; "new" has not been seen
before, "again" has, and "longer" is one that has been seen and two messages more. Cases take turns
in each round, and the figures are medians. Needs vLLM, no GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from benchmarks.front import StandIn
from benchmarks.inprocess import asyncllm
from benchmarks.shapes import ROOT, TINY, write_model
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.http.app import Server

IDS = [400, 500, 600] * 42 + [400, 500]
LONG = 30_000  # tokens
WORDS = (ROOT / "docs" / "http.md").read_text().split()
Bodies = Iterator[dict[str, Any]]


def text(characters: int, seed: int) -> str:
    draw, found = random.Random(seed), ""
    while len(found) < characters:
        found += draw.choice(WORDS) + " "
    return found[:characters]


def chat(*messages: str, **fields: Any) -> dict[str, Any]:
    roles = itertools.cycle(("user", "assistant"))
    said = [
        {"role": role, "content": content} for role, content in zip(roles, messages, strict=False)
    ]
    return {"messages": said, **fields}


def tools(count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": f"tool_{at}",
                "description": text(80, at),
                "parameters": {
                    "type": "object",
                    "properties": {
                        "where": {"type": "string", "description": text(40, at + 1)},
                        "count": {"type": "integer", "minimum": 0},
                        "kind": {"enum": ["one", "two", f"kind {at}"]},
                    },
                    "required": ["where"],
                },
            },
        }
        for at in range(count)
    ]


def always(body: dict[str, Any]) -> Bodies:
    return itertools.repeat(body)


def new_chats(characters: int, messages: int) -> Bodies:
    """Chats that share nothing with the one before."""
    for seed in itertools.count(1):
        parts = [text(characters // messages, seed * 1000 + at) for at in range(messages)]
        yield chat(*parts)


def longer_chats(characters: int, messages: int) -> Bodies:
    """One chat that grows by an answer and a question at each request."""
    said = [text(characters // messages, at) for at in range(messages)]
    for turn in itertools.count():
        yield chat(*said)
        said += [text(300, 10_000 + turn), text(300, 20_000 + turn)]


def cases(per_token: float) -> dict[str, tuple[str, Bodies, float]]:
    """Name -> route, bodies, and the share of the round's requests that are sent of it; `per_token`
    is how many characters a token has.
    """
    size = int(LONG * per_token)
    chats, completions = "/v1/chat/completions", "/v1/completions"
    long = [text(size // 21, at) for at in range(21)]
    return {
        "128 token ids": (completions, always({"prompt": IDS}), 1),
        "chat of 1 KB": (chats, new_chats(1000, 1), 1),
        "chat of 1 KB, whole": (chats, (b | {"stream": False} for b in new_chats(1000, 1)), 1),
        "chat, 20 tools": (chats, always(chat(text(200, 0), tools=tools(20))), 1 / 8),
        "20 tools, required": (
            chats,
            always(chat(text(200, 0), tools=tools(20), tool_choice="required")),
            1 / 8,
        ),
        "30k chat, new": (chats, new_chats(size, 21), 1 / 64),
        "30k chat, again": (chats, always(chat(*long)), 1 / 64),
        "30k chat, longer": (chats, longer_chats(size, 21), 1 / 64),
        "30k text, again": (completions, always({"prompt": text(size, 7)}), 1 / 64),
    }


async def cost(one: Callable[[], Any], count: int) -> float:
    """CPU seconds of each of `count` requests that are sent at once."""
    gc.collect()
    begun = time.process_time()
    await asyncio.gather(*(one() for _ in range(count)))
    return (time.process_time() - begun) / count


def sender(app: Server, path: str, bodies: Bodies) -> Callable[[], Any]:
    from openllm.http.inside import post

    async def one() -> None:
        fields = {"model": "bench", "max_tokens": 1, "ignore_eos": True, "temperature": 0}
        body = json.dumps({"stream": True, **fields, **next(bodies)}).encode()
        answer = await post(app, path, body)
        if answer.status != 200 or b"error" in answer.body[:40]:
            raise SystemExit(f"the application answered: {answer.body[:300]!r}")

    return one


async def measured(spec: LLMSpec, rounds: int, requests: int) -> dict[str, list[float]]:
    """CPU seconds per request of each case, one figure per round."""
    from openllm.http.app import create_app
    from openllm.llm.llm import LLM

    found: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        ask = await stack.enter_async_context(asyncllm(spec))
        llm = LLM.from_spec(attrs.evolve(spec, name="bench"), Path(spec.model_id))
        await stack.enter_async_context(llm)
        # `send` of `post` stands for uvicorn's, and like it needs no task
        stack.enter_context(mock.patch("openllm.http.stream.direct", return_value=True))
        app = create_app([llm], Settings())
        sample = text(40_000, 3)
        per_token = len(sample) / len(llm.tokenizer.encode(sample))

        async def plain() -> None:
            async for _ in ask(IDS, 1):
                pass

        asked = {
            name: (sender(app, path, bodies), share)
            for name, (path, bodies, share) in cases(per_token).items()
        }
        asked = {"asyncllm": (plain, 1), **asked}
        for round_ in range(rounds + 1):
            for name, (one, share) in asked.items():
                figure = await cost(one, max(int(requests * share), 1))
                if round_:  # the first one warms up
                    found.setdefault(name, []).append(figure)
    return found


def model() -> Path:
    """A tiny model with the demo's tokenizer and a long context."""
    path = Path(tempfile.gettempdir()) / "openllm-bench-admission"
    write_model(path, {**TINY, "vocab_size": 2560, "max_position_embeddings": 65_536})
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "openllm" / "demo" / name, path / name)
    return path


def main() -> None:
    import uvloop
    from vllm.v1.engine import core_client

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=256)
    args = parser.parse_args()
    spec = LLMSpec(model_id=str(model()), backend="vllm", max_num_seqs=1024, max_queue=4096)
    stand_in = staticmethod(StandIn)
    with mock.patch.object(core_client.EngineCoreClient, "make_async_mp_client", stand_in):
        found = uvloop.run(measured(spec, args.rounds, args.requests))
    least = statistics.median(found["asyncllm"])
    for name, figures in found.items():
        middle = statistics.median(figures)
        print(f"{name:<20}{middle * 1e6:>10,.0f} us per request{middle / least:>8.2f}x asyncllm")


if __name__ == "__main__":
    main()
