"""Large files in parts: each byte once, whatever happens in between."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Generator
from pathlib import Path

import pytest

from openllm.errors import WeightsError
from openllm.weights.fetching.parts import (
    DATA,
    PARTS,
    NoRanges,
    Source,
    Transfer,
    fetch_files,
    part_bytes,
)

BODY = random.Random(1).randbytes(5 * 2**20 + 3)
DIGEST = hashlib.sha256(BODY).hexdigest()


class Broken(Exception):
    """The connection is gone."""


class Server:
    """Sends parts of BODY in small pieces; `gone` ends it after so many bytes."""

    def __init__(self) -> None:
        self.sent = 0
        self.gone: int | None = None
        self.stumbles = 0

    def read(self, source: Source, first: int, last: int) -> Generator[bytes]:
        for at in range(first, last + 1, 65536):
            if self.gone is not None and self.sent >= self.gone:
                raise Broken
            if self.stumbles and at > first:
                self.stumbles -= 1
                raise Broken
            piece = BODY[at : min(at + 65536, last + 1)]
            self.sent += len(piece)
            yield piece


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source("http://there/file", len(BODY), DIGEST, tmp_path / "blobs" / DIGEST)


def transfer(server: Server, counted: list[int], patience: float | None = 0.0) -> Transfer:
    return Transfer(server.read, (Broken,), lambda error, tries: patience, counted.append)


def test_a_file_comes_whole_and_nothing_else_stays(server: Server, source: Source) -> None:
    counted: list[int] = []
    fetch_files([source], transfer(server, counted))
    assert source.target.read_bytes() == BODY
    assert (server.sent, sum(counted)) == (len(BODY), len(BODY))
    assert [path.name for path in source.target.parent.iterdir()] == [DIGEST]


def test_what_breaks_off_goes_on_from_there(server: Server, source: Source) -> None:
    server.stumbles = 20
    fetch_files([source], transfer(server, []))
    assert source.target.read_bytes() == BODY
    assert server.sent == len(BODY)


def test_what_is_here_is_not_fetched_again(server: Server, source: Source) -> None:
    server.gone = 4 * 2**20
    with pytest.raises(Broken):
        fetch_files([source], transfer(server, [], patience=None))
    assert not source.target.exists()
    assert part_bytes(source.size) == 2 * 2**20
    server.gone, server.sent = None, 0
    counted: list[int] = []
    fetch_files([source], transfer(server, counted))
    assert source.target.read_bytes() == BODY
    assert counted[0] > 0
    assert server.sent == len(BODY) - counted[0]
    assert sum(counted) == len(BODY)


def test_what_the_disk_takes_by_halves_is_no_hole(
    server: Server, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def short(descriptor: int, data: bytes, at: int) -> int:
        return write(descriptor, data[: -(-len(data) // 2)], at)

    monkeypatch.setattr(os, "pwrite", short)
    fetch_files([source], transfer(server, []))
    assert source.target.read_bytes() == BODY


def test_a_server_that_stays_gone_is_not_asked_for_ever(server: Server, source: Source) -> None:
    server.gone = 0
    with pytest.raises(Broken):
        fetch_files([source], transfer(server, []))


def test_content_of_another_digest_is_refused_and_forgotten(server: Server, source: Source) -> None:
    lies = Source(source.url, source.size, "0" * 64, source.target)
    with pytest.raises(WeightsError, match="has not the SHA-256"):
        fetch_files([lies], transfer(server, []))
    assert list(source.target.parent.iterdir()) == []


@pytest.mark.parametrize("ending", [DATA, PARTS])
def test_notes_that_do_not_fit_are_begun_anew(server: Server, source: Source, ending: str) -> None:
    source.target.parent.mkdir()
    source.target.with_name(source.target.name + ending).write_bytes(b"\1" * 21)
    fetch_files([source], transfer(server, []))
    assert source.target.read_bytes() == BODY


def test_killed_between_the_last_part_and_the_end(server: Server, source: Source) -> None:
    source.target.parent.mkdir()
    source.target.with_name(source.target.name + DATA).write_bytes(BODY)
    source.target.with_name(source.target.name + PARTS).write_bytes(b"\1" * 21)
    fetch_files([source], transfer(server, []))
    assert (source.target.read_bytes(), server.sent) == (BODY, 0)


def test_a_server_that_sends_nothing_is_left_to_others(source: Source) -> None:
    def nothing(source: Source, first: int, last: int) -> Generator[bytes]:
        yield from ()

    with pytest.raises(NoRanges):
        fetch_files([source], Transfer(nothing, (Broken,), lambda *_: 0.0, lambda size: None))


@pytest.mark.parametrize(("size", "part"), [(1, 2), (512 * 2**20, 2), (5 * 2**30, 20), (2**40, 32)])
def test_parts_are_whole_mib_and_neither_small_nor_large(size: int, part: int) -> None:
    assert part_bytes(size) == part * 2**20
