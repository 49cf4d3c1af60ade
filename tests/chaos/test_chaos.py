"""Every abuse once, in brief; `make test-chaos` does them for 20 minutes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.chaos.abuses import ABUSES
from tests.chaos.fleet import Fleet, Weight, fleet_of
from tests.chaos.run import Report, abuse, check, kill_engine, slope

WORST_WAIT = 5.0  # seconds between two tokens of a plain stream, on a machine that does much else


def test_a_plain_stream_is_served_whatever_others_do(tmp_path: Path) -> None:
    async def all_once(fleet: Fleet) -> Report:
        report = await abuse(fleet, 0, ABUSES, seed=3)
        check(fleet, report)
        await kill_engine(fleet)
        return report

    with fleet_of(tmp_path) as fleet:
        report = asyncio.run(all_once(fleet))
    assert report.plain.ends["nothing"]["whole"] > 0
    waits = [max(waits) for name, waits in report.plain.waits.items() if name != "kill_worker"]
    assert max(waits) < WORST_WAIT, report.figures()


def test_a_slope_is_of_the_second_half_a_minute() -> None:
    late = [Weight(60.0 * at, 100.0 + 2 * at, 7) for at in range(10, 20)]
    weights = [Weight(1.0 * at, 50.0 * at, 1) for at in range(10)] + late
    assert round(slope(weights, "rss"), 6) == 2
    assert slope(weights, "descriptors") == 0
