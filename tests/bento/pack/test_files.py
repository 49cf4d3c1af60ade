"""Files come to their place without being copied where the disk allows it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from openllm.bento.pack import files
from openllm.bento.pack.files import (
    LINK_FROM,
    Placement,
    bytes_to_copy,
    explain,
    place,
    require_room,
)
from openllm.errors import BuildError

BIG = LINK_FROM + 1


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_a_big_file_takes_no_room(tmp_path: Path) -> None:
    source = write(tmp_path / "a", BIG)
    assert place(source, tmp_path / "deep" / "b") == Placement(shared=BIG)
    assert (tmp_path / "deep" / "b").read_bytes() == source.read_bytes()
    linked = (tmp_path / "deep" / "b").stat().st_ino == source.stat().st_ino
    assert linked or files._clone(
        source, tmp_path / "c"
    )  # which of the two is up to the file system


def test_a_small_file_is_copied_so_that_editing_the_source_leaves_it_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "config.json", 10)
    assert place(source, tmp_path / "b") == Placement(copied=10)
    source.write_bytes(b"changed")
    assert len((tmp_path / "b").read_bytes()) == 10


def test_a_link_is_followed_to_the_real_file(tmp_path: Path) -> None:
    blob = write(tmp_path / "blobs" / "1234", BIG)
    snapshot = tmp_path / "snapshots" / "main" / "model.safetensors"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(Path("../../blobs/1234"))
    target = tmp_path / "store" / "model.safetensors"
    place(snapshot, target)
    assert not target.is_symlink()
    assert target.read_bytes() == blob.read_bytes()


def test_where_neither_clone_nor_link_works_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(files.os, "link", refuse)
    monkeypatch.setattr(files, "_clone", lambda source, target: False)
    source = write(tmp_path / "a", BIG)
    assert place(source, tmp_path / "b") == Placement(copied=BIG)
    source.write_bytes(b"changed")
    assert len((tmp_path / "b").read_bytes()) == BIG


def test_what_has_to_be_copied_is_known_before(tmp_path: Path) -> None:
    sources = [write(tmp_path / "big", BIG), write(tmp_path / "small", 7)]
    assert bytes_to_copy(sources, tmp_path) == 7


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system at /dev/shm")
def test_on_another_file_system_all_of_it_is(tmp_path: Path) -> None:
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the test's directory is on /dev/shm itself")
    assert bytes_to_copy([write(tmp_path / "big", BIG)], Path("/dev/shm")) == BIG


def test_too_little_room_is_one_line_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"Storing x needs 1024\.0 TiB on the disk, .* are free\. Free some"
    ) as error:
        require_room(1024**5, tmp_path, "Storing x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EACCES, "Perm"),
    ],
)
def test_a_disk_that_refuses_is_explained_in_one_line(number: int, said: str) -> None:
    line = str(explain(OSError(number, os.strerror(number)), "Storing x"))
    assert said in line
    assert "\n" not in line


def test_a_home_that_cannot_be_made_is_named() -> None:
    error = NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/home")
    assert str(explain(error, "Storing demo")) == (
        "Storing demo: /dev/null/home cannot be made or written: Not a directory."
        " Point BENTOML_HOME at a directory that can be written."
    )
