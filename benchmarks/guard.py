"""Whether a layer has become slower: CPU time per token, request and engine step, as multiples of
loops that are measured in the same run, beside the figures of benchmarks/guard.json.

    OMP_NUM_THREADS=1 python -m benchmarks.guard [--rounds 12] [--write]

Exits with 1, and says which layer, where one costs more than 1.25 times what is kept. A token is
held against tasks that take turns at small objects and JSON, a request against one to a Starlette
application of a few lines, a step against transformers' own. Before and after each slice of a layer
its loop runs, so that what slows the machine down slows both; a layer that is over the limit is
measured again, with twice the rounds, before that is said. `--write` keeps the figures of this run
instead. Needs neither vLLM nor a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks.layers import (
    Layer,
    Loop,
    reference_loops,
    started_layers,
    write_guarded_model,
)

KEPT = Path(__file__).with_suffix(".json")
LIMIT = 1.25  # times what is kept


@attrs.frozen
class Slice:
    """One measurement of a layer, in CPU seconds: of `units` of it, and of its loop's rounds before
    and after.
    """

    seconds: float
    units: int
    loop_seconds: tuple[float, float]
    loop_rounds: int

    @property
    def multiple(self) -> float:
        """How many rounds of the loop one unit costs."""
        per_round = statistics.mean(self.loop_seconds) / self.loop_rounds
        return self.seconds / self.units / per_round


@attrs.frozen
class Verdict:
    """A layer beside what is kept of it."""

    layer: str
    found: float  # multiple of its loop
    kept: float

    @property
    def times(self) -> float:
        return self.found / self.kept

    @property
    def slower(self) -> bool:
        return self.times > LIMIT

    def __str__(self) -> str:
        line = f"{self.layer:<50}{self.found:>9.2f}{self.kept:>9.2f}{self.times:>8.2f}x"
        return f"{line}  SLOWER" if self.slower else line


def figure(slices: Sequence[Slice]) -> float:
    """A layer's multiple: the median of its slices, of which some were hit by other work."""
    return statistics.median(one.multiple for one in slices)


def verdicts(found: Mapping[str, float], kept: Mapping[str, float]) -> list[Verdict]:
    """Each layer beside what is kept of it, in the order of `found`. Errors: SystemExit where the
    two are not of the same layers.
    """
    if strangers := sorted(set(found) ^ set(kept)):
        raise SystemExit(
            f"{KEPT.name} and the layers differ in {', '.join(strangers)};"
            " keep new figures with: python -m benchmarks.guard --write"
        )
    return [Verdict(layer, multiple, kept[layer]) for layer, multiple in found.items()]


def complaint(found: Sequence[Verdict]) -> str | None:
    """One line that names the layers that are over the limit; None where none is."""
    slower = [one for one in found if one.slower]
    if not slower:
        return None
    named = "; ".join(f"{one.layer} ({one.times:.2f}x)" for one in slower)
    return (
        f"slower than {LIMIT}x of {KEPT.name}: {named}. Look at the first one: those after it may"
        " stand on it. If that is the price of something wanted: python -m benchmarks.guard --write"
    )


async def sliced(layer: Layer, loop: Loop) -> Slice:
    """One slice of a layer, between two of its loop."""
    gc.collect()
    before = await looped(loop)
    begun = time.process_time()
    await layer.run()
    seconds = time.process_time() - begun
    return Slice(seconds, layer.units, (before, await looped(loop)), loop.rounds)


async def looped(loop: Loop) -> float:
    begun = time.process_time()
    await loop.run()
    return time.process_time() - begun


async def measured(
    layers: Sequence[Layer], loops: Mapping[str, Loop], rounds: int
) -> dict[str, float]:
    """The multiple of each layer; they take turns, and a first round only warms up."""
    found: dict[str, list[Slice]] = {layer.name: [] for layer in layers}
    for round_ in range(rounds + 1):
        for layer in layers:
            taken = await sliced(layer, loops[layer.reference])
            if round_:
                found[layer.name].append(taken)
    return {name: figure(slices) for name, slices in found.items()}


async def run(rounds: int, kept: Mapping[str, float] | None) -> dict[str, float]:
    """The multiples of this run; those of layers over the limit taken again, if `kept` is there."""
    model = write_guarded_model(Path(tempfile.gettempdir()) / "openllm-bench-guard")
    async with started_layers(model) as layers:
        loops = reference_loops(model)
        gc.collect()
        gc.freeze()
        found = await measured(layers, loops, rounds)
        if kept is None:
            return found
        again = {one.layer for one in verdicts(found, kept) if one.slower}
        if again:
            print(f"again, with {2 * rounds} rounds: {', '.join(sorted(again))}", flush=True)
            doubted = [layer for layer in layers if layer.name in again]
            found |= await measured(doubted, loops, 2 * rounds)
        return found


def versions() -> dict[str, str]:
    """What the multiples depend on beside our code."""
    names = ("torch", "transformers", "starlette")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {KEPT.name}")
    args = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("run it with OMP_NUM_THREADS=1: other threads of torch count as CPU time")
    document = None if args.write else json.loads(KEPT.read_text())
    found = asyncio.run(run(args.rounds, document and document["multiples"]))
    if document is None:
        rounded = {layer: round(multiple, 3) for layer, multiple in found.items()}
        KEPT.write_text(json.dumps({**versions(), "multiples": rounded}, indent=1) + "\n")
        print(KEPT.read_text(), end="")
        return
    print(f"{'CPU time, in rounds of its loop':<50}{'now':>9}{'kept':>9}")
    judged = verdicts(found, document["multiples"])
    for one in judged:
        print(one)
    for name, here in versions().items():
        if here != document.get(name):
            print(f"kept with {name} {document.get(name)}, and this is {here}")
    if said := complaint(judged):
        sys.exit(said)


if __name__ == "__main__":
    main()
