"""What stands between vLLM's engine and a reader, in CPU time: the engine is replaced by one that
costs almost nothing.

    python -m benchmarks.front [--streams 512] [--answer 200]

A stand-in for the engine core gives every live request one token per step, packed and unpacked with
vLLM's own codec. The figures are tokens per CPU-second of this process, for each layer on top of
it; other work on the machine matters little. Needs vLLM, no GPU, and no weights to speak of.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from benchmarks.inprocess import Ask, asyncllm, backend, llm
from benchmarks.shapes import ensure_model
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec

PROMPT = [400, 500, 600] * 40
One = Callable[[int], Awaitable[int]]  # number of a stream -> tokens it got


class StandIn:
    """Takes the place of vLLM's EngineCoreClient."""

    resources = mock.Mock(engine_dead=False)
    engine_ranks_managed = (0,)

    def __init__(self, **_: Any) -> None:
        from vllm.v1.engine import EngineCoreOutputs
        from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

        # request -> tokens so far, tokens in all, logprobs asked for at each position
        self._live: dict[str, list[int]] = {}
        self._arrived = asyncio.Event()
        self._pack, self._unpack = MsgpackEncoder().encode, MsgpackDecoder(EngineCoreOutputs).decode

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        return ("generate",)

    async def add_request_async(self, request: Any) -> None:
        params = request.sampling_params
        self._live[request.request_id] = [0, params.max_tokens, params.logprobs or 0]
        self._arrived.set()

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            self._live.pop(request_id, None)

    async def get_output_async(self) -> Any:
        """One step: a token for each live request."""
        while not self._live:
            self._arrived.clear()
            await self._arrived.wait()
        await asyncio.sleep(0)
        return self._unpack(self._pack(self._step()))

    def _step(self) -> Any:
        from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
        from vllm.v1.metrics.stats import PrefillStats, SchedulerStats

        outputs = []
        for request_id, count in list(self._live.items()):
            count[0] += 1
            last = FinishReason.LENGTH if count[0] == count[1] else None
            first = PrefillStats() if count[0] == 1 else None
            outputs.append(
                EngineCoreOutput(
                    request_id,
                    [400 + count[0]],
                    new_logprobs=_logprobs(400 + count[0], count[2]),
                    finish_reason=last,
                    prefill_stats=first,
                )
            )
            if last is not None:
                del self._live[request_id]
        return EngineCoreOutputs(outputs=outputs, scheduler_stats=SchedulerStats())

    def shutdown(self, timeout: float | None = None) -> None:
        """Nothing runs elsewhere."""


def _logprobs(token: int, top: int) -> Any:
    """Of one position, as vLLM's sampler gives them: the token itself, then the `top` best."""
    import numpy as np
    from vllm.v1.outputs import LogprobsLists

    if not top:
        return None
    ids = np.array([[token, *range(token, token + top)]], np.int32)
    values = -np.arange(1, top + 2, dtype=np.float32)[None]
    return LogprobsLists(ids, values, np.ones(1, np.int32))


@contextlib.asynccontextmanager
async def readers(front: Any, spec: LLMSpec, answer: int) -> AsyncIterator[One]:
    """A front of benchmarks.inprocess, read to the end."""
    async with front(spec) as ask:
        yield lambda _: drained(ask, answer)


async def drained(ask: Ask, answer: int) -> int:
    return sum([tokens async for tokens in ask(PROMPT, answer)])


@contextlib.asynccontextmanager
async def application(asked: Any, spec: LLMSpec, answer: int) -> AsyncIterator[One]:
    """The ASGI application of `openllm start`, called as a server calls it, with the fields `asked`
    beside the usual ones; what it sends is counted and dropped.
    """
    from openllm.http.app import create_app
    from openllm.http.inside import post
    from openllm.llm.llm import LLM

    # `send` below stands for uvicorn's, and like it needs no task
    straight = mock.patch("openllm.http.stream.direct", return_value=True)
    async with LLM.from_spec(attrs.evolve(spec, name="bench"), Path(spec.model_id)) as model:
        app = create_app([model], Settings())
        fields = {
            "model": "bench",
            "prompt": PROMPT,
            "max_tokens": answer,
            "ignore_eos": True,
            "temperature": 0,
            **asked,
        }
        body = json.dumps({**fields, "stream": True}).encode()

        async def one(_: int) -> int:
            sent = (await post(app, "/v1/completions", body)).body
            if b"data: [DONE]" not in sent:
                raise SystemExit(f"the application answered: {sent[:300]!r}")
            return answer

        with straight:
            yield one


LAYERS: dict[str, tuple[Any, Any]] = {
    "asyncllm": (readers, asyncllm),
    "backend": (readers, backend),
    "llm": (readers, llm),
    "application": (application, {}),
    "stop string": (application, {"stop": ["<never>"]}),
    "logprobs": (application, {"logprobs": 1}),
}


async def measured(layer: str, spec: LLMSpec, streams: int, answer: int) -> float:
    """Tokens per CPU-second of one layer."""
    make, front = LAYERS[layer]
    async with make(front, spec, answer) as one:
        await asyncio.gather(*(one(at) for at in range(8)))
        gc.collect()
        gc.freeze()
        begun = time.process_time()
        counts = await asyncio.gather(*(one(at) for at in range(streams)))
        return sum(counts) / (time.process_time() - begun)


def main() -> None:
    import uvloop
    from vllm.v1.engine import core_client

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--answer", type=int, default=200)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    args = parser.parse_args()
    model = ensure_model(Path(tempfile.gettempdir()) / "openllm-bench-tiny", "tiny")
    spec = LLMSpec(model_id=str(model), backend="vllm", max_num_seqs=1024, max_queue=4096)
    with mock.patch.object(
        core_client.EngineCoreClient, "make_async_mp_client", staticmethod(StandIn)
    ):
        for layer in args.layers:
            speed = uvloop.run(measured(layer, spec, args.streams, args.answer))
            print(
                f"{layer:<12}{speed:>10,.0f} tokens per CPU-second {1e6 / speed:>8.1f} us per"
                " token",
                flush=True,
            )


if __name__ == "__main__":
    main()
