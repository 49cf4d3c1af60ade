"""Links in a model's directory: which are followed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from openllm.errors import WeightsError
from openllm.weights.adapters import read_adapter
from openllm.weights.checkpoint import check_checkpoint, model_files
from openllm.weights.links import check_links
from tests.tiny import write_adapter, write_llama

BLOB = "0123456789abcdef" * 4  # the name of a blob: a SHA-256


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("links") / "model")


def cached(model: Path, cache: Path) -> Path:
    """A snapshot as the Hub's cache has it: a link for each file, to a blob."""
    repository = cache / "models--somebody--something"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for path in model.iterdir():
        shutil.copy(path, repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    return snapshot


def test_the_hubs_cache_and_links_inside_are_followed(model: Path, tmp_path: Path) -> None:
    check_checkpoint(cached(model, tmp_path / "cache"))
    own = Path(shutil.copytree(model, tmp_path / "own"))
    (own / "also.json").symlink_to("config.json")
    (own / ".cache").symlink_to(tmp_path)
    check_checkpoint(own)
    (tmp_path / "by-link").symlink_to(own)
    check_checkpoint(tmp_path / "by-link")


@pytest.mark.parametrize("name", ["secret.txt", "config.json", "inner/secret.txt"])
def test_a_link_out_is_refused(model: Path, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    shutil.copy(model / "config.json", secret)
    for directory in (
        Path(shutil.copytree(model, tmp_path / "own")),
        cached(model, tmp_path / "c"),
    ):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(secret)
        with pytest.raises(WeightsError, match=f"{name} is a link .*out of the model's directory"):
            check_checkpoint(directory)


def test_a_folder_of_a_snapshot_and_blobs_on_another_disk(model: Path, tmp_path: Path) -> None:
    snapshot = cached(model, tmp_path / "cache")
    inner = snapshot / "0_Transformer"
    inner.mkdir()
    for path in snapshot.iterdir():
        if path.is_symlink():
            (inner / path.name).symlink_to(Path("../../../blobs") / path.name)
    check_checkpoint(inner)
    blobs = snapshot.parent.parent / "blobs"
    (blobs / BLOB).write_text("{}")
    (snapshot / "extra.json").symlink_to(Path("../../blobs") / BLOB)
    for path in snapshot.iterdir():
        if path.is_symlink() and path.name != "extra.json":
            path.unlink()
    (disk := tmp_path / "disk").mkdir()
    blobs.rename(disk / "blobs")
    blobs.symlink_to(disk / "blobs")
    shutil.rmtree(inner)
    check_links(snapshot)
    (disk / "blobs" / "passwd").write_text("secret")  # as where `blobs` is a link to /etc
    (snapshot / "secret.txt").symlink_to("../../blobs/passwd")
    with pytest.raises(WeightsError, match="out of the model's directory"):
        check_links(snapshot)


def test_a_directory_that_the_hubs_client_filled_with_links(model: Path, tmp_path: Path) -> None:
    blobs = cached(model, tmp_path / "cache").parent.parent / "blobs"
    own = Path(shutil.copytree(model, tmp_path / "own"))
    (blobs / "config.json").rename(blobs / BLOB)
    (own / "config.json").unlink()
    (own / "config.json").symlink_to(blobs / BLOB)
    check_checkpoint(own)
    (own / "extra.json").symlink_to(blobs / "generation_config.json")  # no blob's name
    (blobs / "generation_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="out of the model's directory") as refused:
        check_checkpoint(own)
    assert "cp -L" in str(refused.value)


def test_what_lies_beside_a_trained_model_is_passed_over(model: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(model, tmp_path / "own"))
    (own / "venv" / "bin").mkdir(parents=True)
    (own / "venv" / "pyvenv.cfg").touch()
    (own / "venv" / "bin" / "python").symlink_to(sys.executable)
    (own / "runs").mkdir()
    (own / "runs" / "latest.log").symlink_to(tmp_path / "gone")
    check_checkpoint(own)
    assert list(model_files(own)) == list(model_files(model))


def test_another_repositorys_blobs_are_out(model: Path, tmp_path: Path) -> None:
    mine, other = cached(model, tmp_path / "a"), cached(model, tmp_path / "b")
    (mine / "extra.json").symlink_to(other / "config.json")
    with pytest.raises(WeightsError, match="out of the model's directory"):
        check_links(mine)


def test_circles_and_ends_are_said(model: Path, tmp_path: Path) -> None:
    for target in ("nowhere", "extra.json"):
        directory = Path(shutil.copytree(model, tmp_path / target))
        (directory / "extra.json").symlink_to(target)
        with pytest.raises(WeightsError, match="nothing is there"):
            check_checkpoint(directory)


def test_adapters_are_held_to_it(model: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", model)
    read_adapter(adapter)
    (adapter / "README.md").unlink(missing_ok=True)
    (adapter / "README.md").symlink_to(model / "config.json")
    with pytest.raises(WeightsError, match="out of the model's directory"):
        read_adapter(adapter)
