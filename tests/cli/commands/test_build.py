"""`build` with the real library: what it prints, and that a built Bento can be started by its
tag.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.checkpoints import tensors
from tests.serving import write_echo_model


def _run(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openllm", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_build_prints_the_tag_and_only_that_on_stdout(
    environment: dict[str, str], tmp_path: Path
) -> None:
    model = write_echo_model(tmp_path / "tiny-model")
    (model / "model.safetensors").write_bytes(tensors(a=3))
    args = [
        "build",
        str(model),
        "--backend",
        "echo",
        "--seed",
        "7",
        "--bento-name",
        "tiny",
        "--label",
        "team=a",
    ]

    first = _run(environment, *args, "-o", "tag")
    assert first.returncode == 0, first.stderr
    tag = first.stdout.removesuffix("\n")
    assert tag.startswith("tiny:")
    assert first.stderr.splitlines()[0] == "Building a Bento for tiny-model ..."

    again = json.loads(_run(environment, *args, "-o", "json").stdout)
    assert (again["tag"], again["new"]) == (tag, False)
    assert Path(again["path"]).is_dir()

    text = _run(environment, *args)
    assert text.stdout.splitlines()[0].startswith(f"Already built {tag} (")
    assert text.stdout.splitlines()[1] == f"Serve it: bentoml serve {tag}"

    spec = json.loads(_run(environment, "start", tag, "--seed", "8", "--print-spec").stdout)
    assert spec == {**again["specs"][0], "seed": 8}


def test_build_of_a_bad_model_is_one_line_after_the_progress(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = _run(environment, "build", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("Error: There is no directory ")
    assert "Traceback" not in done.stderr
