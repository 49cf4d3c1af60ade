"""The table of benchmarks.serving."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs

from benchmarks.loadgen import Figures

RATIOS = (
    ("openllm", "asyncllm"),
    ("openllm", "vllm"),
    ("openllm4", "asyncllm"),
    ("openllm4", "vllm4"),
    ("backend", "asyncllm"),
    ("llm", "asyncllm"),
    ("echo", "echo-llm"),
    ("pytorch", "pytorch-llm"),
    ("pytorch", "pytorch-eager"),
)
HEAD = (
    f"{'system':<12}{'streams':>8}{'tokens/s':>10}{'TTFT p50':>10}{'p99 ms':>9}{'gap p50':>9}"
    f"{'tok/event':>10}{'CPU us/tok':>11} errors"
)


@attrs.define
class Outcome:
    """What came of one system."""

    system: str
    ready: float = 0.0  # seconds from start to ready
    levels: list[Figures] = attrs.field(factory=list)
    error: str = ""


def row(system: str, level: Figures) -> str:
    line = f"{system:<12}{level.streams:>8}{level.tokens_per_second:>10,.0f}"
    line += f"{1e3 * level.ttft_p50:>10.1f}{1e3 * level.ttft_p99:>9.1f}"
    line += f"{1e3 * level.inter_token_p50:>9.2f}{level.tokens_per_event:>10.2f}"
    line += f"{1e6 * level.cpu_per_token:>11.1f}" if level.cpu_per_token else f"{'-':>11}"
    return f"{line}{level.errors:>7}" + (f"  {level.error}" if level.error else "")


def report(outcomes: Sequence[Outcome]) -> str:
    """The table, then one system's tokens/s over another's at each level (of medians, where there
    were several).
    """
    lines = [HEAD]
    for outcome in outcomes:
        lines += [row(outcome.system, level) for level in outcome.levels]
        lines.append(
            f"{outcome.system:<12}" + (outcome.error or f"ready after {outcome.ready:.1f} s")
        )
    speeds = {outcome.system: _speeds(outcome.levels) for outcome in outcomes}
    for one, other in RATIOS:
        shared = [n for n in speeds.get(one, {}) if speeds.get(other, {}).get(n)]
        if shared:
            parts = ", ".join(f"{n}: {speeds[one][n] / speeds[other][n]:.2f}" for n in shared)
            lines.append(f"{one} / {other} by streams: {parts}")
    return "\n".join(lines)


def _speeds(levels: Sequence[Figures]) -> dict[int, float]:
    """Tokens/s by streams; the median where a level was taken several times."""
    found: dict[int, list[float]] = {}
    for level in levels:
        found.setdefault(level.streams, []).append(level.tokens_per_second)
    return {streams: median(speeds) for streams, speeds in found.items()}
