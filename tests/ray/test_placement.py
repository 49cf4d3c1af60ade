"""Where the bundles of a replica come to lie on a cluster of two nodes, each in a network namespace
of its own with one GPU, as Ray counts them: none is needed.

vLLM's CPU build does not run on Ray ("does not support ray"), so its workers are not started here.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

NAMES = ("olm-a", "olm-b")
ADDRESSES = ("10.213.7.1", "10.213.7.2")
PORT = 26379
PLACE = """
import json, sys
import ray
from ray.util.placement_group import placement_group, placement_group_table
from openllm.ray.plan import make_plan

ray.init(address=sys.argv[1], log_to_driver=False)
found = []
for fields in json.loads(sys.argv[2]):
    plan = make_plan({"model": "llama", "model_id": "a/b", "backend": "vllm", **fields})
    options = plan.options()
    bundles = options["placement_group_bundles"]
    group = placement_group(bundles, strategy=options["placement_group_strategy"])
    ready = group.wait(timeout_seconds=30)
    nodes = placement_group_table(group)["bundles_to_node_id"]
    gpus = [nodes[at] for at, bundle in enumerate(bundles) if "GPU" in bundle]
    found.append([ready, len(gpus), len(set(gpus))])
    ray.util.remove_placement_group(group)
print(json.dumps(found))
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def inside(name: str, *command: str, timeout: float = 120) -> str:
    """What a command in a namespace prints."""
    done = subprocess.run(
        ["ip", "netns", "exec", name, *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def nodes() -> Iterator[str]:
    """Two namespaces with a wire between them."""
    try:
        for name in NAMES:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "olm0",
            "netns",
            NAMES[0],
            "type",
            "veth",
            "peer",
            "olm1",
            "netns",
            NAMES[1],
        )
        for at, name in enumerate(NAMES):
            ip("-n", name, "addr", "add", f"{ADDRESSES[at]}/24", "dev", f"olm{at}")
            for device in (f"olm{at}", "lo"):
                ip("-n", name, "link", "set", device, "up")
    except (OSError, subprocess.CalledProcessError):
        _remove()
        pytest.skip("no network namespaces can be made here")
    yield f"{ADDRESSES[0]}:{PORT}"
    _remove()


def _remove() -> None:
    for name in NAMES:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            ip("netns", "del", name)


@pytest.fixture
def cluster(nodes: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A raylet in each, with one GPU."""
    ray = str(Path(sys.executable).with_name("ray"))
    common = ["--num-gpus=1", "--num-cpus=2", "--object-store-memory=80000000"]
    begin = [ray, "start", "--disable-usage-stats", *common]
    pids = []
    try:
        for at, name in enumerate(NAMES):
            own = f"--node-ip-address={ADDRESSES[at]}"
            place = [f"--temp-dir={tmp_path_factory.mktemp(f'r{at}')}", f"--port={PORT}"]
            head = ["--head", "--include-dashboard=false", *place]
            inside(name, *begin, own, *(head if at == 0 else [f"--address={nodes}"]))
        yield nodes
    finally:
        for name in NAMES:
            pids += subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True
            ).stdout.split()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)


def test_a_model_of_two_nodes_lies_on_both(cluster: str) -> None:
    """Two stages of a pipeline: a GPU on each node; one GPU: on one of them."""
    asked = [
        {"distributed_executor": "ray", "pipeline_parallel_size": 2},
        {"distributed_executor": "ray", "tensor_parallel_size": 1},
    ]
    found = inside(NAMES[0], sys.executable, "-c", PLACE, cluster, json.dumps(asked))
    assert json.loads(found.splitlines()[-1]) == [[True, 2, 2], [True, 1, 1]]
