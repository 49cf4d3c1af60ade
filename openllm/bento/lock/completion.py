"""Run while an image is built: what the packages there need beyond the lock, which was installed
without dependencies.

Where pip found the builds that were locked, nothing is missing. Where it found others, such as the
CUDA build of torch in place of the CPU's, they have needs of their own: python -m
openllm.bento.completion requirements.txt
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from openllm.bento.lock.requirements import installed, needs, read_left_out

HASH = "--hash="


def missing_requirements(left_out: Iterable[tuple[str, str]]) -> list[str]:
    """What an installed distribution requires and nobody installed, as pip takes it; `left_out` is
    not missed.
    """
    known = set(left_out)
    missing = set()
    for owner in importlib.metadata.distributions():
        for requirement in needs(owner, ("",)):
            pair = (str(canonicalize_name(owner.name)), str(canonicalize_name(requirement.name)))
            if pair not in known and installed(requirement.name) is None:
                missing.add(f"{requirement.name}{requirement.specifier}")
    return sorted(missing)


def main(requirements: str) -> int:
    """The exit code: pip's, or 1 for a lock with hashes that lacks something."""
    lines = Path(requirements).read_text(encoding="utf-8").splitlines()
    missing = missing_requirements(read_left_out(lines))
    if missing and any(HASH in line for line in lines):
        sys.stderr.write(
            f"ERROR: The packages need {', '.join(missing)}, for which the lock has no hash.\n"
        )
        return 1
    if not missing:
        return 0
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *missing], check=False
    ).returncode
