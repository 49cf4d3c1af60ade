"""A stored model as one file: what comes out is what went in, and nothing else is taken."""

from __future__ import annotations

import io
import json
import random
import tarfile
from pathlib import Path

import pytest

from openllm.errors import WeightsError
from openllm.weights.archive import CONTENTS, extract_archive, is_archive, write_archive
from openllm.weights.checkpoint import content_digest
from openllm.weights.store import StoredModel, find_model
from tests.checkpoints import FILES, write


@pytest.fixture
def model(tmp_path: Path) -> StoredModel:
    home = tmp_path / "home"
    path = write(home / "models" / "mine" / "new", {"sub/notes.txt": b"x"})
    digest = content_digest(path)
    path = path.rename(path.with_name(digest[:20]))
    metadata = {"digest": digest, "hub_id": "org/model", "commit": "c" * 40}
    (path / "model.yaml").write_text(json.dumps({"name": "mine", "metadata": metadata}))
    return find_model(f"mine:{digest[:20]}", home)


@pytest.fixture
def packed(model: StoredModel, tmp_path: Path) -> bytes:
    target = io.BytesIO()
    write_archive(model, tmp_path / "home", target, "model.tar")
    return target.getvalue()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    path = tmp_path / "into"
    path.mkdir()
    return path


def tar(members: list[tuple[tarfile.TarInfo | str, bytes]]) -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for member, data in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    target.seek(0)
    return target


def link(kind: bytes, name: str = "config.json") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize("name", ["m.tar", "m.tgz"])
def test_what_is_written_is_read_back(model, into, tmp_path, name) -> None:
    path = tmp_path / name
    for _ in range(2):
        with path.open("wb") as target:
            write_archive(model, tmp_path / "home", target, name)
        first = path.read_bytes()
    assert path.read_bytes() == first
    assert is_archive(path)
    with path.open("rb") as source:
        found = extract_archive(source, into)
    assert found.name == "mine"
    assert found.metadata == {"hub_id": "org/model", "commit": "c" * 40}
    assert content_digest(into) == model.metadata["digest"]
    assert {path.name for path in into.rglob("*") if path.is_file()} == {*FILES, "notes.txt"}


def test_a_damaged_model_is_not_exported(model, tmp_path) -> None:
    (model.path / "config.json").write_bytes(b"{ }")
    with pytest.raises(WeightsError, match="is not as it was stored"):
        write_archive(model, tmp_path / "home", io.BytesIO(), "m.tar")


def test_a_plain_tar_of_a_directory_is_read(into, tmp_path) -> None:
    write(tmp_path / "mine")
    path = tmp_path / "mine.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "mine", "mine")
    with path.open("rb") as source:
        found = extract_archive(source, into)
    assert (found.name, sorted(found.digests)) == (None, [f"mine/{name}" for name in sorted(FILES)])


@pytest.mark.parametrize(
    "member",
    [
        "/etc/cron.d/evil",
        "../evil",
        "a/../../evil",
        "a\\..\\evil",
        link(tarfile.SYMTYPE),
        link(tarfile.LNKTYPE),
        link(tarfile.FIFOTYPE),
        link(tarfile.CHRTYPE),
        link(tarfile.SYMTYPE, "dir"),
    ],
    ids=lambda member: getattr(member, "type", str(member)),
)
def test_nothing_but_plain_files_inside_is_written(member, into, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(WeightsError, match="no plain file below"):
        extract_archive(tar([(member, b"")]), into)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_comes_twice_is_refused(into) -> None:
    with pytest.raises(WeightsError, match="twice"):
        extract_archive(tar([("a.json", b"1"), ("a.json", b"2")]), into)


def test_every_changed_byte_of_ours_is_found(packed, into) -> None:
    """In headers, names and data: it is refused, or was padding that means nothing."""
    refused = 0
    for at in range(0, len(packed), 97):
        damaged = bytearray(packed)
        damaged[at] ^= 1
        target = into / str(at)
        target.mkdir()
        try:
            extract_archive(io.BytesIO(bytes(damaged)), target)
        except WeightsError:
            refused += 1
        else:
            assert all((target / name).read_bytes() == data for name, data in FILES.items())
    assert refused > 20


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_an_archive_that_is_cut_short_is_refused(packed, into, share) -> None:
    with pytest.raises(WeightsError):
        extract_archive(io.BytesIO(packed[: int(len(packed) * share)]), into)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_of_others_is_whole_or_refused(into, tmp_path, mode) -> None:
    path, data = tmp_path / "mine", random.Random(1).randbytes(3000)
    with tarfile.open(path, mode) as archive:
        for name in ("a.json", "b.json"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    whole = path.read_bytes()
    (into / "whole").mkdir()
    with path.open("rb") as source:
        assert list(extract_archive(source, into / "whole").digests) == ["a.json", "b.json"]
        assert not source.closed
    if mode == "w":  # between two members, before the end, in a member, in a header
        damaged = [whole[:size] for size in (512 + 3072, 2 * (512 + 3072), 1000, 512 + 3072 + 99)]
        damaged.append(whole[: 512 + 3072] + b"x" + whole[512 + 3073 :])  # no header
    else:
        middle = len(whole) // 2
        flipped = bytes([whole[middle] ^ 1])
        damaged = [whole[:-1], whole[:middle], whole[:middle] + flipped + whole[middle + 1 :]]
    for number, each in enumerate(damaged):
        (into / str(number)).mkdir()
        with pytest.raises(WeightsError, match=r"It is no whole archive: .*Export it again"):
            extract_archive(io.BytesIO(each), into / str(number))


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (b"{", "no whole archive"),
        (b"[]", "cannot be read"),
        (b'{"files": {"x": 3}}', "cannot be read"),
        (b'{"tag": "a:1", "files": {"x": {"size": 1, "sha256": "0"}}}', "lacks x"),
        (b'{"tag": "a:1", "files": {"x": {"size": 9e18, "sha256": "0"}}}', "are free"),
        (b'{"tag": "a:1", "files": {}}', "y in the archive is not what"),
    ],
)
def test_a_list_of_contents_that_lies_is_refused(contents, says, into) -> None:
    members = [(CONTENTS, contents)]
    if "y in" in says:
        members.append(("y", b"1"))
    with pytest.raises(WeightsError, match=says):
        extract_archive(tar(members), into)


def test_what_is_no_archive_is_told(into, tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"no archive at all" * 100)
    assert not is_archive(tmp_path / "x")
    with (tmp_path / "x").open("rb") as source, pytest.raises(WeightsError, match="no whole arch"):
        extract_archive(source, into)
