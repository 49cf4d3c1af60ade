"""What this process may use of the machine: cores and memory, within its container's limits."""

from __future__ import annotations

import os
from pathlib import Path

import torch

SYSTEM, PROCESSES = Path("/sys"), Path("/proc")
UNKNOWN_MEMORY = 4 * 2**30  # bytes, where the system does not tell


def prepare_thread(device: torch.device) -> None:
    """Set up the calling thread for computing: its CUDA device, and torch's threads bounded by the
    cores for us.

    A smaller OMP_NUM_THREADS stays, for torch has read it by itself.
    """
    torch.set_num_threads(max(1, min(torch.get_num_threads(), physical_cores())))
    if device.type == "cuda":
        torch.cuda.set_device(device)


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


def free_memory(system: Path = SYSTEM, processes: Path = PROCESSES) -> int:
    """Bytes that can be had without swapping: of the machine, and of the container if that is
    less.
    """
    found = [UNKNOWN_MEMORY]
    if (table := processes / "meminfo").is_file():
        found = [1024 * _numbers(table).get("MemAvailable:", UNKNOWN_MEMORY // 1024)]
    limit, used, detail = (
        system / f"fs/cgroup/memory.{name}" for name in ("max", "current", "stat")
    )
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdigit():
        # Files that were read are counted as used, but give way.
        cached = _numbers(detail) if detail.is_file() else {}
        held = int(used.read_text()) - cached.get("active_file", 0) - cached.get("inactive_file", 0)
        found.append(max(0, int(most) - max(0, held)))
    return min(found)


def _numbers(table: Path) -> dict[str, int]:
    """The lines of a system file that say a name and a number."""
    words = (line.split() for line in table.read_text().splitlines())
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
