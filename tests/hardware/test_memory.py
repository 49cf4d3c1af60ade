"""Cores and memory are counted as the container sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.hardware import memory as hardware


def test_cores_are_counted_without_hyperthreads_and_within_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for cpu in range(8):
        topology = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    assert hardware.physical_cores(tmp_path) == 4
    (tmp_path / "fs/cgroup").mkdir(parents=True)
    (tmp_path / "fs/cgroup/cpu.max").write_text("250000 100000\n")
    assert hardware.physical_cores(tmp_path) == 2
    (tmp_path / "fs/cgroup/cpu.max").write_text("max 100000\n")
    assert hardware.physical_cores(tmp_path) == 4


def test_memory_is_what_the_machine_and_the_container_leave(tmp_path: Path) -> None:
    assert hardware.free_memory(tmp_path, tmp_path) == hardware.UNKNOWN_MEMORY
    (tmp_path / "meminfo").write_text("MemTotal:   9000 kB\nMemAvailable:   5000 kB\n")
    assert hardware.free_memory(tmp_path, tmp_path) == 5000 * 1024
    (tmp_path / "fs/cgroup").mkdir(parents=True)
    (tmp_path / "fs/cgroup/memory.max").write_text("max\n")
    (tmp_path / "fs/cgroup/memory.current").write_text("1000000\n")
    assert hardware.free_memory(tmp_path, tmp_path) == 5000 * 1024
    (tmp_path / "fs/cgroup/memory.max").write_text("3000000\n")
    assert hardware.free_memory(tmp_path, tmp_path) == 2000000
    (tmp_path / "fs/cgroup/memory.max").write_text("900000\n")
    assert hardware.free_memory(tmp_path, tmp_path) == 0
    (tmp_path / "fs/cgroup/memory.stat").write_text(
        "anon 400000\nactive_file 200000\ninactive_file 400000\n"
    )
    assert hardware.free_memory(tmp_path, tmp_path) == 500000


@pytest.mark.parametrize(
    ("limit", "usage", "stat", "prefix"),
    [
        ("memory.max", "memory.current", "memory.stat", ""),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_",
        ),
    ],
)
def test_both_versions_of_control_groups_come_to_the_same_sum(
    tmp_path: Path, limit: str, usage: str, stat: str, prefix: str
) -> None:
    """vLLM's sum took a file that was read for used, the PyTorch engine's knew version 2 only."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    group = tmp_path / "fs/cgroup"
    (group / "memory").mkdir(parents=True)
    (group / limit).write_text("3000000\n")
    (group / usage).write_text("1000000\n")
    assert hardware.free_memory(tmp_path, tmp_path) == 2000000
    (group / stat).write_text(f"{prefix}active_file 200000\n{prefix}inactive_file 400000\n")
    assert hardware.machine_memory(tmp_path, tmp_path) == hardware.MachineMemory(9216000, 2600000)
    (group / limit).write_text("9223372036854771712\n")  # version 1's way to say: none
    assert hardware.free_memory(tmp_path, tmp_path) == 5000 * 1024


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert hardware.machine_memory(tmp_path, tmp_path) is None
