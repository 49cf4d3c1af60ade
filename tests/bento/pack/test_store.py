"""Weights in BentoML's store: named by their content, linked, and never there by halves."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest

from openllm.bento.pack import store
from openllm.bento.pack.store import find_model, store_directory
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, WeightsError
from openllm.weights.checkpoint import file_digests
from openllm.weights.resolve import content_digest, resolve_weights
from tests.bento.models import write_echo_weights


def keep(directory: Path) -> store.Stored:
    return store_directory(
        directory, directory.name, file_digests(directory), {"hub_id": "org/name"}
    )


def entries(home: Path) -> list[str]:
    """Everything below the store and its workshop."""
    return sorted(
        str(path.relative_to(home))
        for part in ("models", "tmp")
        for path in (home / part).rglob("*")
    )


def test_bentoml_finds_what_was_stored(home: Path, echo_model: Path) -> None:
    stored = keep(echo_model)
    model = bentoml.models.get(stored.tag)
    assert Path(model.path) == stored.path == find_model(stored.tag)
    assert model.info.metadata == {"hub_id": "org/name", "digest": content_digest(echo_model)}
    assert bentoml.models.get("parrot:latest").tag == model.tag
    assert [str(item.tag) for item in bentoml.models.list()] == [stored.tag]
    assert resolve_weights(LLMSpec(model_id=stored.tag), home) == stored.path


def test_the_second_time_nothing_is_written(home: Path, echo_model: Path) -> None:
    first = keep(echo_model)
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    second = keep(echo_model)
    assert first.new
    assert not second.new
    assert second.tag == first.tag
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before


def test_the_tag_follows_the_content_alone(home: Path, tmp_path: Path, echo_model: Path) -> None:
    copy = tmp_path / "elsewhere" / "parrot"
    shutil.copytree(echo_model, copy)
    (copy / ".git").mkdir()
    (copy / "pytorch_model.bin").write_bytes(b"the same weights in a format that is left behind")
    assert keep(copy).tag == keep(echo_model).tag
    (copy / "config.json").write_text("{}")
    assert keep(copy).tag != keep(echo_model).tag


def test_a_big_model_adds_less_than_one_percent(home: Path, tmp_path: Path) -> None:
    size = 32 * 1024**2
    model = write_echo_weights(tmp_path / "big", size)
    stored = keep(model)
    assert stored.placement.copied < size / 100
    assert stored.placement.shared >= size


def test_a_hub_cache_is_stored_as_real_files(home: Path, tmp_path: Path, echo_model: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "parrot"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in echo_model.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    stored = keep(snapshot)
    assert stored.tag == keep(echo_model).tag
    assert not any(path.is_symlink() for path in stored.path.rglob("*"))


def test_a_link_out_of_the_directory_is_not_packed(
    home: Path, tmp_path: Path, echo_model: Path
) -> None:
    model = Path(shutil.copytree(echo_model, tmp_path / "model"))
    (model / "secret.txt").symlink_to("/etc/passwd")
    with pytest.raises(WeightsError, match="out of the model's directory"):
        keep(model)
    assert not (home / "models").exists() or not any((home / "models").iterdir())


def test_a_disk_that_fills_up_leaves_nothing(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = []

    def fill_up(source: Path, target: Path) -> store.Placement:
        if placed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        placed.append(source)
        shutil.copyfile(source, target)
        return store.Placement(copied=1)

    monkeypatch.setattr(store, "place", fill_up)
    with pytest.raises(BuildError, match="the disk is full") as error:
        keep(echo_model)
    assert "\n" not in str(error.value)
    assert entries(home) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(
    home: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("models", "tmp"):
        (small_disk / part).mkdir()
    monkeypatch.setattr(store, "_store_path", lambda: small_disk / "models")
    model = write_echo_weights(tmp_path / "big", 4 * 1024**2)
    with pytest.raises(BuildError, match=r"needs 4\.\d MiB on the disk, .* are free"):
        keep(model)
    assert entries(small_disk) == []


def test_a_disk_that_is_full_sooner_than_it_said_leaves_nothing(
    home: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_store_path", lambda: small_disk / "models")
    monkeypatch.setattr(store, "require_room", lambda *_: None)
    model = write_echo_weights(tmp_path / "big", 4 * 1024**2)
    with pytest.raises(BuildError, match="the disk is full"):
        keep(model)
    assert entries(small_disk) == []


def test_an_interrupt_leaves_nothing(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_write_info", interrupt)
    with pytest.raises(KeyboardInterrupt):
        keep(echo_model)
    assert entries(home) == []


def test_whoever_comes_second_in_a_race_takes_what_is_there(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep(echo_model)
    monkeypatch.setattr(
        store, "find_model", lambda tag: None
    )  # as if it had looked a moment earlier
    assert keep(echo_model).path == first.path
    assert entries(home).count(f"models/parrot/{first.path.name}") == 1
