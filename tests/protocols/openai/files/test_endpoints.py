"""Files over HTTP, with the official client, which checks every answer."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.config.settings import Settings
from openllm.errors import NotFound, Overloaded
from openllm.protocols.openai.files.folder import Folder, StoredFile, new_file_id
from tests.protocols.conftest import echo_llm
from tests.protocols.openai.responses.conftest import strict
from tests.serving import Running, serve

DAY = 24 * 3600


@pytest.fixture(scope="module")
def small(echo_model: Path) -> Iterator[Running]:
    """A server that keeps little."""
    settings = Settings(max_file_bytes=3 * 1024**2, max_files_bytes=4 * 1024**2, max_files=3)
    with serve(echo_llm(echo_model), settings=settings) as found:
        yield found


@pytest.fixture
def files(small: Running) -> Iterator[Any]:
    """The client's part for files, which are gone afterwards."""
    with strict(small) as client:
        yield client.files
        for file in client.files.list():
            client.files.delete(file.id)


def test_a_file_is_kept_until_it_is_deleted(files: Any) -> None:
    data = os.urandom(2 * 1024**2)
    file = files.create(file=("täglich.jsonl", data), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(data), "täglich.jsonl", "batch")
    assert file.expires_at == file.created_at + 30 * DAY
    assert files.retrieve(file.id) == file
    assert files.content(file.id).content == data
    assert [found.id for found in files.list()] == [file.id]
    assert list(files.list(purpose="fine-tune")) == []
    assert files.delete(file.id).deleted
    for ask in (files.retrieve, files.content, files.delete):
        with pytest.raises(openai.NotFoundError, match="There is no file"):
            ask(file.id)


def test_files_are_listed_a_page_at_a_time(files: Any) -> None:
    made = [files.create(file=(f"{at}", b"x"), purpose="batch").id for at in range(3)]
    first = files.list(limit=2, order="asc")
    assert first.has_more
    assert {file.id for file in files.list(limit=2, order="asc")} == set(made)
    with pytest.raises(openai.BadRequestError, match="limit"):
        files.list(limit=0)


def test_how_long_a_file_is_kept(files: Any) -> None:
    asked: Any = {"file": ("a", b"x"), "purpose": "batch"}
    file = files.create(**asked, expires_after={"anchor": "created_at", "seconds": DAY})
    assert file.expires_at == file.created_at + DAY
    for wrong in (
        {"anchor": "created_at", "seconds": 5},
        {"anchor": "now", "seconds": DAY},
        {"anchor": "created_at", "seconds": "²"},
    ):
        with pytest.raises(openai.BadRequestError, match=r"expires_after\."):
            files.create(**asked, expires_after=wrong)


def test_there_are_bounds(files: Any) -> None:
    with pytest.raises(openai.APIStatusError, match="larger than 3145728 bytes") as large:
        files.create(file=("a", bytes(3 * 1024**2 + 1)), purpose="batch")
    assert large.value.status_code == 413
    with pytest.raises(openai.APIStatusError) as larger:  # told before it is read
        files.create(file=("a", bytes(4 * 1024**2)), purpose="batch")
    assert larger.value.status_code == 413
    files.create(file=("a", bytes(3 * 1024**2)), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="4194304 bytes together"):
        files.create(file=("a", bytes(2 * 1024**2)), purpose="batch")
    for _ in range(2):
        files.create(file=("a", b"x"), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="3 files are kept already"):
        files.create(file=("a", b"x"), purpose="batch")


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ({"json": {"purpose": "batch"}}, 400, "multipart/form-data"),
        ({"files": {"file": b"x"}}, 400, "purpose is required"),
        ({"files": {"other": b"x"}, "data": {"purpose": "batch"}}, 400, "file is required"),
        ({"files": {"file": (None, "x")}, "data": {"purpose": "batch"}}, 400, "file is required"),
        ({"files": {"file": b"x"}, "data": {"purpose": "vision"}}, 400, "for a batch alone"),
        ({"files": {"file": b"x", "b": b"y"}, "data": {"purpose": "batch"}}, 400, "Too many"),
        (
            {"content": b"--a\r\nx", "headers": {"content-type": "multipart/form-data"}},
            400,
            "boundary",
        ),
        (
            {"content": b"no form", "headers": {"content-type": "multipart/form-data; boundary=a"}},
            400,
            "form",
        ),
        (
            {
                "content": b"x",
                "headers": {
                    "content-type": "multipart/form-data; boundary=a",
                    "content-encoding": "gzip",
                },
            },
            415,
            "cannot be compressed",
        ),
    ],
)
def test_what_is_no_file(small: Running, asked: Any, status: int, why: str) -> None:
    answer = httpx.post(f"{small.url}/v1/files", **asked)
    assert answer.status_code == status
    assert why in answer.json()["error"]["message"]


def test_what_a_directory_keeps_and_for_how_long(tmp_path: Path) -> None:
    folder = Folder(Settings(files_root=tmp_path))
    now = int(time.time())

    def add(expires: int) -> StoredFile:
        file = StoredFile(new_file_id(), "ann", 1, now, "name", "batch", expires)
        folder.add(io.BytesIO(b"x"), file)
        return file

    kept, over = add(now + DAY), add(now - 1)
    broken = tmp_path / "files" / "file-0.data"
    fresh = tmp_path / "files" / "file-1.data"
    for path in (broken, fresh):
        path.write_bytes(b"of an upload that ended too soon")
    os.utime(broken, (now - DAY, now - DAY))
    assert folder.files("ann") == [kept]
    assert folder.files("bob") == []
    assert (broken.exists(), fresh.exists()) == (False, True)
    assert not folder.data(over.id).exists()
    with pytest.raises(NotFound):
        folder.file("ann", over.id)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("file-*.json")} == {0o600}
    assert folder.data(kept.id).stat().st_mode & 0o777 == 0o600


def test_a_directory_of_its_own_goes_with_the_server() -> None:
    folder = Folder(Settings())
    root = folder.root
    assert root.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert not root.exists()


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "files"
    folder = Folder(Settings(files_root=root))
    file = StoredFile(new_file_id(), "me", 3, 0, "a.jsonl", "batch")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(Overloaded, match="full") as caught:
        folder.add(io.BytesIO(b"abc"), file)
    assert caught.value.retry_after > 0
    monkeypatch.undo()
    assert folder.files("me") == []
    assert list(root.rglob("*.new")) == []
    folder.add(io.BytesIO(b"abc"), file)
    assert [kept.id for kept in folder.files("me")] == [file.id]
