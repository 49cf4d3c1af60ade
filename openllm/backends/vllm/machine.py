"""What the machine has for an engine: memory that is free, within the limits of a container."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def free_memory() -> int:
    """Bytes of RAM that are free for this process; 0 where the system does not say."""
    available = _memory("MemAvailable")
    for limit, usage in _CGROUPS:
        room = _number(limit) - _number(usage)
        if 0 < room < available:
            return room
    return available


def total_memory() -> int:
    """Bytes of RAM that this machine has; 0 where the system does not say."""
    return _memory("MemTotal")


def _memory(name: str) -> int:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return 0
