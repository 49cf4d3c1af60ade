"""`openllm plan`: a table for people, JSON for programs, and a command line that starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.hub import FakeHub
from tests.llm.test_planning import write_shape

MIB = 2**20


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shape(tmp_path_factory.mktemp("shape") / "8b")


def test_the_demo_fits_and_the_command_starts_it(run: Run) -> None:
    found = run("plan", "demo", "--backend", "pytorch", "--streams", "4")
    assert found.exit_code == 0
    assert "It fits. Largest context: 2048 tokens." in found.stdout
    assert found.stdout.splitlines()[-1].startswith("openllm start demo --backend pytorch")
    words = found.stdout.splitlines()[-1].split()[1:]
    said = json.loads(run(*words, "--print-spec").stdout)
    assert (said["model_id"], said["max_num_seqs"]) == ("demo", 4)


def test_what_does_not_fit_ends_with_1_and_what_would(run: Run, shape: Path) -> None:
    found = run("plan", str(shape), "--gpu", "T4")
    assert found.exit_code == 1
    assert "It does not fit:" in found.stdout
    assert "It would with --quantization bitsandbytes: openllm start" in found.stdout
    plain = run("plan", str(shape), "--gpu", "T4", "-o", "json")
    said = json.loads(plain.stdout)
    assert said["fits"] is False
    assert said["command"] is None
    assert said["helps"][0]["option"] == "--quantization"
    assert said["memory"]["needed"] > said["memory"]["room"]


def test_it_says_where_it_cannot_tell(run: Run, shape: Path) -> None:
    words = ("plan", str(shape), "--gpu", "T4", "--engine-arg", "cpu_offload_gb=8")
    found = run(*words)
    assert found.exit_code == 0
    why = "the engine's own options (cpu_offload_gb) are not counted."
    said, command = found.stdout.splitlines()[-2:]
    assert said == f"Whether it fits cannot be told: {why}"
    assert command.endswith("--engine-arg cpu_offload_gb=8")
    plain = json.loads(run(*words, "-o", "json").stdout)
    assert (plain["fits"], plain["unsure"], plain["helps"]) == (None, why, [])
    unknown = run("plan", str(shape), "--gpu", "T4", "--quantization", "experts_int8")
    assert "how small experts_int8 makes weights is not known" in unknown.stdout


def test_several_gpus_and_a_demand(run: Run, shape: Path) -> None:
    words = ("--gpu", "H100", "--count", "2", "--max-model-len", "32768", "--streams", "16")
    said = json.loads(run("plan", str(shape), *words, "-o", "json").stdout)
    assert said["fits"]
    assert said["backend"] == "vllm"
    assert said["memory"]["context"] == 32768
    assert "--max-model-len 32768 --max-num-seqs 16" in said["command"]
    copies = json.loads(
        run("plan", str(shape), *words[:4], "--data-parallel-size", "2", "-o", "json").stdout
    )
    assert copies["memory"]["weights"] > said["memory"]["weights"]
    assert copies["command"].endswith("--data-parallel-size 2")
    assert run("plan", str(shape), "--gpu", "H10O").exit_code != 0
    assert "at least one" in run("plan", str(shape), "--gpu", "H100", "--count", "0").stderr


def test_of_a_hub_id_a_few_kb_are_read_and_nothing_is_kept(tmp_path: Path, shape: Path) -> None:
    files = {path.name: path.read_bytes()[: 2 * MIB] for path in shape.iterdir()}
    command = (sys.executable, "-m", "openllm", "plan")
    with FakeHub() as hub:
        hub.add("org/eight-billion", files)
        found = subprocess.run(
            [*command, "org/eight-billion", "--gpu", "H100", "-o", "json"],
            env={**os.environ, **hub.environ(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert 0 < json.loads(found.stdout)["read"] < MIB
    assert not list(tmp_path.rglob("*.safetensors"))
