"""`python -m tests.chaos.run --seconds 1200`: every abuse in turn beside a plain client, then the
engine is killed; figures as JSON, exit code 1 where a promise was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import httpx
import psutil

from openllm.bento.serving.project import write_project
from openllm.config.spec import LLMSpec
from tests.bento.conftest import running
from tests.bento.models import write_echo_weights
from tests.chaos.abuses import ABUSES, Abuse, Said, cut_hub, trace_in
from tests.chaos.fleet import Fleet, Weight, fleet_of, weigh
from tests.chaos.plain import PlainClient

QUIET_SECONDS = 5.0  # without abuse, first: what a plain stream's waits are then
END_SECONDS = 30.0  # for a server whose engine was killed to be gone
FAULTS = ("error", "cut", "500")  # how no plain stream may end while no process is killed


@attrs.define
class Report:
    """What was seen."""

    plain: PlainClient
    said: dict[str, list[Said]] = attrs.field(factory=dict)
    weights: list[Weight] = attrs.field(factory=list)

    def figures(self) -> dict[str, object]:
        return {
            "plain_stream_waits_ms": {
                name: _waits(waits) for name, waits in self.plain.waits.items()
            },
            "plain_stream_ends": {name: dict(ends) for name, ends in self.plain.ends.items()},
            "rounds": {name: len(found) for name, found in self.said.items()},
            "last": {name: found[-1] for name, found in self.said.items()},
            "rss_mb": [round(self.weights[0].rss), round(self.weights[-1].rss)],
            "rss_mb_per_minute": round(slope(self.weights, "rss"), 3),
            "descriptors": [self.weights[0].descriptors, self.weights[-1].descriptors],
            "descriptors_per_minute": round(slope(self.weights, "descriptors"), 3),
        }


def slope(weights: Sequence[Weight], name: str) -> float:
    """What is gained a minute, by least squares over the second half: the first fills caches."""
    late = weights[len(weights) // 2 :]
    if len(late) < 3:
        return 0.0
    times = [one.at / 60 for one in late]
    return statistics.linear_regression(times, [getattr(one, name) for one in late]).slope


def _waits(waits: Sequence[float]) -> dict[str, float]:
    ordered = sorted(waits)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    chosen = {
        name: ordered[min(int(part * len(ordered)), len(ordered) - 1)] for name, part in at.items()
    }
    return {"tokens": len(ordered)} | {name: round(1e3 * one, 1) for name, one in chosen.items()}


async def abuse(fleet: Fleet, seconds: float, chosen: Sequence[Abuse], seed: int) -> Report:
    """Each of `chosen` once, and all again until `seconds` are over. Errors: AssertionError."""
    random_ = random.Random(seed)
    report = Report(PlainClient(fleet.url))
    plain = asyncio.create_task(report.plain.run())
    begun = time.monotonic()
    await asyncio.sleep(QUIET_SECONDS)
    first = True
    while first or time.monotonic() - begun < seconds:
        first = False
        for one in chosen:
            name = one.__name__
            report.plain.during = name
            report.said.setdefault(name, []).append(await one(fleet, random_))
        report.plain.during = "nothing"
        await asyncio.sleep(1)
        report.weights.append(weigh(fleet, begun))
        assert not plain.done(), plain.exception()
    plain.cancel()
    await asyncio.gather(plain, return_exceptions=True)
    return report


def check(fleet: Fleet, report: Report) -> None:
    """That what is promised was kept. Errors: AssertionError."""
    for name, ends in report.plain.ends.items():
        if name != "kill_worker":
            assert not {end: ends[end] for end in FAULTS if ends[end]}, (name, ends)
    assert fleet.is_whole()
    assert trace_in(fleet.server.text()) == ""


async def kill_engine(fleet: Fleet) -> Said:
    """The engine is killed: its streams end with an error event, and then all of the server."""
    plain = PlainClient(fleet.url)
    async with httpx.AsyncClient(timeout=END_SECONDS) as client:
        task = asyncio.create_task(plain.stream(client))
        async with asyncio.timeout(END_SECONDS):
            while not plain.waits["nothing"]:  # noqa: ASYNC110  a plain client has no event for it
                await asyncio.sleep(0.005)
        members = fleet.server.family()
        fleet.engine().kill()
        begun = time.monotonic()
        end = await task
    code = await asyncio.to_thread(fleet.server.process.wait, END_SECONDS)
    seconds = time.monotonic() - begun
    assert end == "error", end
    assert code > 0, code
    _, alive = psutil.wait_procs(members, timeout=END_SECONDS)
    assert not alive
    return {"stream": end, "exit_code": code, "gone_s": round(seconds, 1)}


async def kill_bento_worker(folder: Path) -> Said:
    """The worker of a served Bento is killed: a 503 at once, and another worker."""
    model = write_echo_weights(folder / "echo")
    write_project(folder, [LLMSpec(model_id=str(model), backend="echo")])
    command = ["bentoml", "serve", "service:svc", "--host", "127.0.0.1"]
    with running(command, folder / "bento.log", BENTOML_HOME=str(folder)) as server:
        await asyncio.to_thread(server.wait_ready)
        _, worker = server.family()
        worker.kill()
        begun = time.monotonic()
        async with httpx.AsyncClient(timeout=END_SECONDS) as client:
            answer = await client.get(f"{server.url}/v1/models")
            told = time.monotonic() - begun
            assert answer.status_code == 503, answer.text
        await asyncio.to_thread(server.wait_ready)
        return {"told_s": round(told, 2), "back_s": round(time.monotonic() - begun, 1)}


async def all_of_it(seconds: float, seed: int) -> dict[str, object]:
    """The figures of the whole. Errors: AssertionError."""
    with TemporaryDirectory() as folder:
        with fleet_of(Path(folder)) as fleet:
            report = await abuse(fleet, seconds, (*ABUSES, cut_hub), seed)
            check(fleet, report)
            engine = await kill_engine(fleet)
        bento = Path(folder) / "bento"
        bento.mkdir()
        worker = await kill_bento_worker(bento)
    return report.figures() | {"engine_killed": engine, "bento_worker_killed": worker}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    try:
        found = asyncio.run(all_of_it(words.seconds, words.seed))
    except AssertionError as error:
        print(f"Not kept: {error!r}", file=sys.stderr)
        traceback.print_exc()
        return 1
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
