"""How long the command takes to say what it can do, beside the import of click alone: CPU time of
fresh processes.

python -m benchmarks.startup [--runs 30]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

COMMANDS = {
    "import click": ["-c", "import click"],
    "openllm --help": ["-m", "openllm", "--help"],
    "openllm models": ["-m", "openllm", "models"],
}


def cpu_seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        environment["BENTOML_HOME"] = home
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(runs + 1):  # taking turns, so that other work on the machine hits all alike
            for name, arguments in COMMANDS.items():
                times[name].append(cpu_seconds(arguments, environment))
    medians = {
        name: statistics.median(values[1:]) for name, values in times.items()
    }  # the first fills caches
    for name, median in medians.items():
        print(f"{name:16} {median * 1000:6.1f} ms  {median / medians['import click']:.2f}x")


if __name__ == "__main__":
    main()
