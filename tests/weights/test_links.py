"""Links in a model's directory: which are followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from openllm.errors import WeightsError
from openllm.weights.adapters import read_adapter
from openllm.weights.checkpoint import check_checkpoint
from openllm.weights.links import check_links
from tests.tiny import write_adapter, write_llama


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
