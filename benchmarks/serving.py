"""Engines and servers side by side under the same load: tokens/s, time to first token, gaps between
tokens, errors.

    python -m benchmarks.serving    # one GPU: AsyncLLM here, openllm start, vllm serve
    python -m benchmarks.serving --together  # all of them up at once, loaded in turns
    python -m benchmarks.serving --tiny  # the same on a CPU, small
    python -m benchmarks.serving --systems echo-llm echo  # our serving layer alone, no engine
    python -m benchmarks.serving --systems pytorch --streams 1 32

Every system gets the same random prompts (128 token ids) and answers 256 tokens, end of sequence
ignored; --list tells the systems. The load comes from several processes over raw sockets
(benchmarks.loadgen).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from benchmarks.report import Outcome, report, row
from benchmarks.shapes import ensure_model
from benchmarks.systems import CPU_CACHE, SYSTEMS, Plan, System, start_system
from openllm.config.settings import Settings
from openllm.hardware.gpus import visible_gpus

TOGETHER_SHARE, TOGETHER_CACHE = 0.15, 8 << 30  # of each vLLM, so that several fit on one GPU

Keep = Callable[[], None]


def measure_apart(outcomes: Sequence[Outcome], plan: Plan, keep: Keep) -> None:
    """One system after the other has the machine for itself."""
    for outcome in outcomes:
        wait_for_memory()
        system = start_system(outcome.system, plan)
        try:
            if bring_up(outcome, system):
                for level in range(1, len(plan.streams) + 1):
                    take_level(outcome, system, level, keep)
        finally:
            system.end()


def measure_together(outcomes: Sequence[Outcome], plan: Plan, keep: Keep) -> None:
    """All systems are up; at each level of load they take turns, so that the machine is the same to
    all of them.
    """
    systems = [start_system(outcome.system, plan) for outcome in outcomes]
    try:
        live = [pair for pair in zip(outcomes, systems, strict=True) if bring_up(*pair)]
        for level in range(1, len(plan.streams) + 1):
            for outcome, system in live:
                take_level(outcome, system, level, keep)
    finally:
        for system in systems:
            system.end()


def bring_up(outcome: Outcome, system: System) -> bool:
    """Whether it came up and took a first load."""
    try:
        outcome.ready = system.wait_until_up()
        system.measure(0)
    except RuntimeError as error:
        outcome.error = str(error)
        print(f"{outcome.system:<12}{outcome.error}", flush=True)
    return not outcome.error


def take_level(outcome: Outcome, system: System, level: int, keep: Keep) -> None:
    if outcome.error:
        return
    try:
        outcome.levels.append(system.measure(level))
        print(row(outcome.system, outcome.levels[-1]), flush=True)
    except (RuntimeError, OSError) as error:
        outcome.error = str(error)
    keep()


def wait_for_memory(patience: float = 30.0) -> None:
    """Until the GPUs are free of the system before: what its processes held goes back a moment
    after they ended.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(
        gpu.free < 0.95 * gpu.total for gpu in visible_gpus(Settings.from_env().visible_devices)
    ):
        time.sleep(0.5)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=["asyncllm", "openllm", "vllm"]
    )
    parser.add_argument("--list", action="store_true", help="list the systems and exit")
    parser.add_argument(
        "--together", action="store_true", help="keep all up and load them in turns"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="a tiny model and short answers, for a CPU"
    )
    parser.add_argument("--streams", nargs="+", type=int, help="streams at once, one level each")
    parser.add_argument(
        "--passes", type=int, default=1, help="how often to take all levels; the median is reported"
    )
    parser.add_argument("--prompt", type=int, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, help="tokens of an answer")
    parser.add_argument("--processes", type=int, help="processes of the load generator")
    parser.add_argument("--workers", type=int, default=1, help="API workers of openllm start")
    parser.add_argument(
        "--model", type=Path, help="a directory; by default one is written with random weights"
    )
    parser.add_argument(
        "--startup", type=float, default=240.0, help="seconds that a system may take to come up"
    )
    parser.add_argument(
        "--out", type=Path, help="where the figures go as JSON; default: $OUT/serving.json"
    )
    return parser.parse_args()


def make_plan(args: argparse.Namespace) -> Plan:
    shape = "tiny" if args.tiny else "llama-1b"
    model = args.model or ensure_model(
        Path(tempfile.gettempdir()) / f"openllm-bench-{shape}", shape
    )
    cpu = not visible_gpus(Settings.from_env().visible_devices)
    return Plan(
        model=model,
        shape=shape,
        streams=tuple(args.streams or ((1, 8) if args.tiny else (1, 32, 256, 512))) * args.passes,
        prompt=args.prompt or (32 if args.tiny else 128),
        answer=args.answer or (32 if args.tiny else 256),
        processes=args.processes or (2 if args.tiny else 8),
        cpu=cpu,
        workers=args.workers,
        startup=args.startup,
        share=TOGETHER_SHARE if args.together and not cpu else None,
        cache=CPU_CACHE if cpu else TOGETHER_CACHE if args.together else None,
    )


def main() -> None:
    args = arguments()
    if args.list:
        print("\n".join(f"{name:<12}{meaning}" for name, meaning in SYSTEMS.items()))
        return
    plan = make_plan(args)
    outcomes = [Outcome(system) for system in args.systems]
    out = args.out or (Path(os.environ["OUT"]) / "serving.json" if os.environ.get("OUT") else None)

    def keep() -> None:  # after each level, so that a run that is cut short leaves what it has
        if out is not None:
            out.write_text(json.dumps([attrs.asdict(outcome) for outcome in outcomes], indent=1))

    (measure_together if args.together else measure_apart)(outcomes, plan, keep)
    keep()
    print(report(outcomes))


if __name__ == "__main__":
    main()
