"""Pulls that are killed at random moments: whatever the moment, the next run makes it whole and
nothing is left behind.

python -m tests.chaos.pulls [--count 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.checkpoints import FILES
from tests.cli.commands.test_pull_hub import WEIGHTS, Pulls
from tests.hub import FakeHub


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with FakeHub() as hub:
        hub.large = 2**20
        hub.add("org/model", {**FILES, "model.safetensors": WEIGHTS})
        hub.rate = 4e6
        longest = kill_after(hub, None)
        for number in range(given.count):
            moment = chance.uniform(0, longest)
            kill_after(hub, moment)
            print(f"{number + 1}: killed after {moment:.2f} s of {longest:.2f} s, whole again")


def kill_after(hub: FakeHub, seconds: float | None) -> float:
    """Pull, killed after `seconds` (None: not at all), then pull again and look at everything; how
    long the first took.
    """
    with tempfile.TemporaryDirectory(prefix="pulls-") as folder:
        pulls = Pulls(hub, Path(folder))
        begun = time.monotonic()
        first = pulls.begin()
        if seconds is not None:
            time.sleep(seconds)
            first.kill()
        first.communicate()
        took = time.monotonic() - begun
        again = pulls.begin()
        tag, said = again.communicate()
        assert again.returncode == 0, said
        (stored,) = pulls.home.glob("models/*/*/model.safetensors")
        assert stored.read_bytes() == WEIGHTS
        assert stored.parent.parent.joinpath("latest").read_text() == stored.parent.name
        assert tag.strip().endswith(stored.parent.name)
        assert pulls.halves() == [], pulls.halves()
        return took


if __name__ == "__main__":
    main()
