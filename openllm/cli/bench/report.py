"""The tables of `openllm bench`: the levels of a run, and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from openllm.cli.bench.figures import BUSY, BenchRun, Figures
from openllm.cli.output import print_table, warn

LATE_MS = 20.0  # after this, an open loop was not the one that was asked for


@attrs.frozen
class Compared:
    """A figure that runs are compared by: its name, where it is, and whether less is better."""

    name: str
    of: Callable[[Figures], float | None]
    less: bool = True


ROWS = (
    Compared("tokens/s", lambda level: level.output_tokens_per_second, less=False),
    Compared("requests/s", lambda level: level.requests_per_second, less=False),
    Compared("TTFT p50 ms", lambda level: level.ttft_ms.p50),
    Compared("TTFT p99 ms", lambda level: level.ttft_ms.p99),
    Compared("ITL p50 ms", lambda level: level.itl_ms.p50),
    Compared("ITL p99 ms", lambda level: level.itl_ms.p99),
    Compared("TPOT p50 ms", lambda level: level.tpot_ms.p50),
    Compared("goodput/s", lambda level: level.goodput, less=False),
)


def print_run(run: BenchRun) -> None:
    """One row a level; what must be known to read them goes to stderr."""
    head = ["STREAMS", "REQUESTS", "TOKENS/S", "REQ/S", "TTFT P50", "P99 MS", "ITL P50", "P99 MS"]
    limited, measured = bool(run.limits_ms), any(level.engine_share for level in run.levels)
    if any(level.rate is not None for level in run.levels):
        head[0] = "RATE"
    head += ["GOOD/S", "GOOD"] if limited else []
    head += ["ENGINE"] if measured else []
    rows = []
    for level in run.levels:
        row = [
            level.level,
            str(level.requests),
            f"{level.output_tokens_per_second:,.1f}",
            f"{level.requests_per_second:,.2f}",
            *map(_milliseconds, (level.ttft_ms.p50, level.ttft_ms.p99)),
            *map(_milliseconds, (level.itl_ms.p50, level.itl_ms.p99)),
        ]
        if limited:
            row += [f"{level.goodput or 0:,.2f}", f"{level.good_share or 0:.0%}"]
        if measured:
            row += [f"{level.engine_share:.1%}" if level.engine_share else "-"]
        rows.append([*row, str(sum(level.errors.values()))])
    print_table([*head, "ERRORS"], rows)
    for level in run.levels:
        for text in _remarks(level):
            warn(f"{level.level}: {text}")


def _remarks(level: Figures) -> Iterator[str]:
    for error, times in level.errors.items():
        yield f"{times} times: {error}"
    if level.generator_busy > BUSY:
        yield (
            f"a process of the load generator used {level.generator_busy:.0%} of a core: give it"
            " more --processes."
        )
    if level.late_ms_p99 > LATE_MS:
        yield f"requests left up to {level.late_ms_p99:,.0f} ms (p99) after their time."


def compared(before: BenchRun, after: BenchRun) -> list[dict[str, Any]]:
    """Each figure of the levels that both runs have: `before`, `after` and the `change` of it."""
    others = {level.level: level for level in after.levels}
    found: list[dict[str, Any]] = []
    for level in before.levels:
        if (other := others.get(level.level)) is None:
            continue
        for row in ROWS:
            one, two = row.of(level), row.of(other)
            if one is None or two is None:
                continue
            change = two / one - 1 if one else None
            found.append(
                {
                    "level": level.level,
                    "figure": row.name,
                    "before": one,
                    "after": two,
                    "change": change,
                    "better": None if not change else (change < 0) == row.less,
                }
            )
    return found


def print_compared(rows: list[dict[str, Any]]) -> None:
    said = {None: "", True: "better", False: "worse"}
    cells = [
        [
            row["level"],
            row["figure"],
            f"{row['before']:,.2f}",
            f"{row['after']:,.2f}",
            "-" if row["change"] is None else f"{row['change']:+.1%}",
            said[row["better"]],
        ]
        for row in rows
    ]
    print_table(("LEVEL", "FIGURE", "BEFORE", "AFTER", "CHANGE", ""), cells)


def _milliseconds(value: float) -> str:
    return f"{value:,.1f}" if value >= 1 else f"{value:.3f}"
