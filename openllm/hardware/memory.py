"""What this process may use of the machine: cores and memory, within its container's limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import attrs

SYSTEM, PROCESSES = Path("/sys"), Path("/proc")
UNKNOWN_MEMORY = 4 * 2**30  # bytes, where the system does not tell
# A control group's limit, usage and details: of version 2, then of version 1.
_FILES = (
    ("", ("memory.max", "memory.current", "memory.stat")),
    ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")),
)
_CACHED = ("active_file", "inactive_file")


def physical_cores(system: Path = SYSTEM) -> int:
    """Cores without their hyper-threads, within this process's affinity and container limit."""
    logical = (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )
    cores = set()
    for cpu in logical:
        siblings = system / f"devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        cores.add(siblings.read_text().strip() if siblings.is_file() else str(cpu))
    quota = system / "fs/cgroup/cpu.max"
    limit, _, period = quota.read_text().partition(" ") if quota.is_file() else ("max", "", "")
    allowed = (
        max(1, int(limit) // int(period))
        if limit.isdigit() and period.strip().isdigit()
        else len(cores)
    )
    return min(len(cores), allowed)


def fast_in_bf16(processes: Path = PROCESSES) -> bool:
    """Whether the processor multiplies bf16 by instructions of its own (AVX512-BF16, AMX)."""
    table = processes / "cpuinfo"
    lines = table.read_text().splitlines() if table.is_file() else []
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


@attrs.frozen
class MachineMemory:
    """Bytes of RAM: of the machine, and what can be had of it without swapping."""

    total: int
    free: int


def free_memory(system: Path = SYSTEM, processes: Path = PROCESSES) -> int:
    """Bytes that can be had without swapping; a guess where the system does not tell."""
    found = machine_memory(system, processes)
    return found.free if found else UNKNOWN_MEMORY


def machine_memory(system: Path = SYSTEM, processes: Path = PROCESSES) -> MachineMemory | None:
    """What the machine has and leaves, the container's limit considered; None where the system does
    not tell.
    """
    machine = _numbers(processes / "meminfo")
    if "MemAvailable:" not in machine:
        return None
    available = 1024 * machine["MemAvailable:"]
    left = [
        room
        for group, files in _groups(system / "fs/cgroup", processes / "self/cgroup")
        if (room := _left(group, *files)) is not None
    ]
    return MachineMemory(1024 * machine.get("MemTotal:", 0), min([available, *left]))


def _groups(root: Path, own: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The control groups that this process is in, each with its files: a container sees its own
    as the root; outside of one, each of those above it has a limit, too.
    """
    lines = own.read_text().splitlines() if own.is_file() else []
    parts = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    for folder, files in _FILES:
        inner = next((path for _, kinds, path in parts if folder in kinds.split(",")), "/")
        group = root / folder / inner.strip("/")
        while group != root and group != root / folder:
            yield group, files
            group = group.parent
        yield root / folder, files


def _left(group: Path, limit: str, usage: str, detail: str) -> int | None:
    """Bytes that the control group leaves; None where it sets no limit."""
    most, used = _number(group / limit), _number(group / usage)
    if most is None or used is None:
        return None
    # Files that were read are counted as used, but give way.
    parts = _numbers(group / detail)
    cached = sum(parts.get(f"total_{name}", parts.get(name, 0)) for name in _CACHED)
    return max(0, most - max(0, used - cached))


def _number(path: Path) -> int | None:
    """What a system file of one number says; None for "max", and where there is no such file."""
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _numbers(table: Path) -> dict[str, int]:
    """The lines of a system file that say a name and a number; none where there is no such file."""
    if not table.is_file():
        return {}
    words = (line.split() for line in table.read_text().splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
