"""How long a plain stream waits beside grammars that mean no good, in milliseconds and in steps.

    python -m benchmarks.grammars [--backend pytorch] [--seconds 30]

One stream without a structure is read all the time; its gaps are the times between two of its
tokens. Alone it gives the time of a step, the median of those gaps. Then each structure is asked
for beside it, until its answer or refusal comes, or until its client leaves after `--seconds`. The
machine should be quiet: what else runs on it makes gaps too.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from openllm.backends.base import Backend
from openllm.backends.select import find_backend
from openllm.backends.stream import deltas
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError
from openllm.types import SamplingParams, Structure, TokenRequest, new_request_id
from tests.backends.hostile import doubling, overlapping, structure
from tests.tiny import write_llama

PROMPT = [1, 40, 50, 60]
ALONE_SECONDS = 3.0
ANSWER = 64  # tokens


def structures() -> dict[str, Structure]:
    """Structures of at most 64 KB that cost much to compile, or to follow."""
    digits = "|".join(f"[a-z]{{{at}}}[0-9]{{{40 - at}}}" for at in range(1, 40))
    pattern = "^[a-z]+([0-9a-f]{2,8}|x)*$"
    names = [f"field{at}" for at in range(300)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "pattern": pattern} for name in names},
        "required": names,
    }
    return {
        "a small choice": structure("choice", ["yes", "no"]),
        "151 overlapping rules": overlapping(151),
        "600 overlapping rules": overlapping(600),
        "600, behind 40 letters": overlapping(600, head="a" * 40),
        "1,500 overlapping rules": overlapping(1500),
        "rules that double": doubling(),
        "a regex of 1 KB": structure("regex", f"({digits}){{1,50}}"),
        "nested repetition": structure("regex", "((((a{1,30}){1,30}){1,30}){1,30})b"),
        "2,500 choices": structure("choice", [f"value number {at}" for at in range(2500)]),
        "a schema of 300 patterns": structure("json_schema", schema),
    }


class PlainStream:
    """Reads one stream after another, and notes when each token came."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.gaps: list[float] = []  # seconds

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            params = SamplingParams(max_tokens=200, ignore_eos=True, temperature=0.0)
            asked = TokenRequest(new_request_id(), PROMPT, params)
            async for _ in deltas(self._backend, asked):
                now = time.monotonic()
                self.gaps.append(now - last)
                last = now

    def take(self) -> list[float]:
        """The gaps since the last time."""
        taken, self.gaps = self.gaps, []
        return taken


async def ask(backend: Backend, wanted: Structure, seconds: float) -> str:
    """How a request for `wanted` ended."""
    params = SamplingParams(max_tokens=ANSWER, structure=wanted, seed=1)
    asked = TokenRequest(new_request_id(), PROMPT, params)
    try:
        async with asyncio.timeout(seconds):
            found = [delta async for delta in deltas(backend, asked)]
    except TimeoutError:
        return "its client left"
    except OpenLLMError as error:
        return f"{error.status}: {error.message}"
    return str(found[-1].finish_reason)


async def measure(backend: Backend, seconds: float) -> None:
    stream = PlainStream(backend)
    reading = asyncio.ensure_future(stream.run())
    await ask(backend, structure("choice", ["first"]), 120.0)  # which starts a process
    stream.take()
    await asyncio.sleep(ALONE_SECONDS)
    alone = stream.take()
    step = statistics.median(alone)
    print(f"alone: a step takes {step * 1000:.1f} ms, the longest gap {max(alone) * 1000:.0f} ms")
    print(f"{'beside':26} {'seconds':>7} {'longest gap, ms':>15} {'steps':>6}  outcome")
    for name, wanted in structures().items():
        begun = time.monotonic()
        outcome = await ask(backend, wanted, seconds)
        took, gap = time.monotonic() - begun, max(stream.take(), default=0.0)
        print(f"{name:26} {took:7.1f} {gap * 1000:15.0f} {gap / step:6.0f}  {outcome}", flush=True)
    reading.cancel()
    await asyncio.wait([reading])


async def run(name: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_llama(Path(folder) / "model")
        backend = find_backend(name)(LLMSpec(model_id=str(path), max_num_seqs=8), path)
        await backend.start()
        try:
            await measure(backend, seconds)
        finally:
            await backend.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="pytorch")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    asyncio.run(run(given.backend, given.seconds))


if __name__ == "__main__":
    main()
