"""A stored model as one file, and back under the same tag."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.bento.conftest import home
from tests.checkpoints import write
from tests.cli.commands.test_pull import Pull, pull, run
from tests.cli.conftest import Run

__all__ = ["home", "pull", "run"]


def test_an_exported_model_is_imported_under_its_tag(
    run: Run, pull: Pull, home: Path, tmp_path: Path
) -> None:
    tag, file = pull(), tmp_path / "demo.tar"
    assert run("export", "demo:latest", str(file)).stdout.startswith(f"{tag}: ")
    refused = run("export", tag, str(file))
    assert (refused.exit_code, "Add --force" in refused.stderr) == (1, True)
    assert run("export", tag, str(file), "--force").exit_code == 0
    assert json.loads(run("import", str(file), "-o", "json").stdout)["new"] is False
    run("rm", tag)
    done = json.loads(run("import", str(file), "-o", "json").stdout)
    assert (done["tag"], done["new"]) == (tag, True)
    assert run("verify", tag).exit_code == 0
    assert run("import", str(file), "--name", "mine", "-o", "tag").stdout.startswith("mine:")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".demo")] == []
    assert list((home / "tmp").iterdir()) == []


def test_bentoml_reads_what_is_exported_and_the_other_way(
    run: Run, home: Path, tmp_path: Path
) -> None:
    import bentoml

    tag = run("pull", str(write(tmp_path / "mine")), "-o", "tag").stdout.strip()
    ours, theirs = tmp_path / "a.tar", tmp_path / "b.bentomodel"
    assert run("export", tag, str(ours)).exit_code == 0
    bentoml.models.export_model(tag, str(theirs))
    run("rm", tag)
    assert str(bentoml.models.import_model(str(ours)).tag) == tag
    run("rm", tag)
    assert run("import", str(theirs), "-o", "tag").stdout.strip() == tag


@pytest.mark.parametrize("top", ["", "mine/"], ids=["at the root", "in a directory"])
def test_a_plain_tar_has_the_tag_of_its_directory(
    run: Run, home: Path, tmp_path: Path, top: str
) -> None:
    model, file = write(tmp_path / "mine"), tmp_path / "mine.tar"
    tag = run("pull", str(model), "-o", "tag").stdout.strip()
    run("rm", tag)
    (model / "pytorch_model.bin").write_bytes(b"the same weights in a format that is left behind")
    with tarfile.open(file, "w") as archive:
        for path in sorted(model.iterdir(), reverse=True):
            archive.add(path, top + path.name)
    assert run("import", str(file), "-o", "tag").stdout.strip() == tag
    assert run("verify", tag).exit_code == 0


def test_it_goes_through_a_pipe(run: Run, pull: Pull, home: Path) -> None:
    tag = pull()
    command = [sys.executable, "-m", "openllm"]
    environ = {"BENTOML_HOME": str(home), "PYTHONPATH": ":".join(sys.path)}
    archive = subprocess.run([*command, "export", tag, "-"], env=environ, stdout=subprocess.PIPE)
    taken = subprocess.run(
        [*command, "import", "-", "--name", "piped", "-o", "tag"],
        env=environ,
        input=archive.stdout,
        capture_output=True,
    )
    assert taken.stdout.decode().strip() == f"piped:{tag.partition(':')[2]}"


def test_what_is_no_model_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "notes.txt", "notes.txt")
    result = run("import", str(tmp_path / "x.tar"))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "config.json" in result.stderr
