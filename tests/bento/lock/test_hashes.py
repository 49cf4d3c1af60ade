"""Hashes in the lock: what installed archives left behind, and what pip says when a person asks for
them.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bentoml
import pytest

from openllm.bento.build import BuildOptions, build
from openllm.bento.inspect import inspect_bento, verify_bento
from openllm.bento.lock.hashes import fetch_hashes, known_hashes
from openllm.bento.lock.requirements import lock_requirements
from openllm.bento.lock.wheel import wheel_name
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from tests.bento.index import serve_index, write_index

PINS = ["alpha==1.0", "beta-two==2.1"]


@pytest.fixture(autouse=True)
def only_this_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what pip is set up for on this machine."""
    for name in [
        name for name in os.environ if name.startswith(("PIP_", "HTTP", "http", "ALL_PROXY"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty index that pip is set up for."""
    root = tmp_path / "index"
    root.mkdir()
    with serve_index(root) as address:
        monkeypatch.setenv("PIP_INDEX_URL", address)
        yield root


def test_pip_is_asked_for_each_hash(index: Path) -> None:
    digests = write_index(index, PINS)
    assert fetch_hashes(PINS) == digests


def test_a_package_that_the_index_lacks_is_one_line(index: Path) -> None:
    write_index(index, PINS)
    with pytest.raises(
        BuildError, match=r"pip found no hashes: No matching distribution found for gamma==3\."
    ) as error:
        fetch_hashes([*PINS, "gamma==3"])
    assert "\n" not in str(error.value)


def test_an_index_that_cannot_be_reached_is_one_line_without_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:pass@127.0.0.1:9/simple")
    with pytest.raises(BuildError, match="pip found no hashes") as error:
        fetch_hashes(PINS)
    assert "127.0.0.1" not in str(error.value)
    assert "\n" not in str(error.value)


def test_without_pip_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(BuildError, match="pip is not installed here"):
        fetch_hashes(PINS)


def test_every_line_of_the_lock_gets_its_hash(
    index: Path, home: Path, echo_model: Path, tmp_path: Path
) -> None:
    lock = lock_requirements(["echo"])
    digests = write_index(index, lock.pins)
    spec = LLMSpec(model_id=str(echo_model), backend="echo")
    built = build(spec, BuildOptions(hashes=True))
    lines = (built.path / "env/python/requirements.txt").read_text().splitlines()
    assert lines[:-1] == [f"{pin} --hash=sha256:{digests[pin]}" for pin in lock.pins]
    assert re.fullmatch(
        rf"\./wheels/{re.escape(wheel_name())} --hash=sha256:[0-9a-f]{{64}}", lines[-1]
    )
    assert not (built.path / "src/hashes.json").exists()
    assert verify_bento(built.tag).problems == ()
    hashed = [
        part for part in inspect_bento(built.tag).sbom["components"] if part["type"] == "library"
    ]
    assert all(part["hashes"] for part in hashed)
    address = os.environ["PIP_INDEX_URL"].encode()
    assert not [
        path for path in built.path.rglob("*") if path.is_file() and address in path.read_bytes()
    ]
    again = build(spec, BuildOptions(hashes=True))
    assert (again.tag, again.new) == (built.tag, False)
    assert build(spec).tag != built.tag
    shutil.copytree(built.path / "src/wheels", tmp_path / "image/wheels")
    shutil.copy(built.path / "env/python/requirements.txt", tmp_path / "image")
    command = [
        "-m",
        "pip",
        "install",
        "--no-deps",
        "-r",
        "requirements.txt",
        "--require-hashes",
        "--target",
        "there",
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path / "image", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "image/there/openllm/__init__.py").is_file()


def test_without_the_index_nothing_is_kept(index: Path, home: Path, echo_model: Path) -> None:
    with pytest.raises(BuildError, match="pip found no hashes"):
        build(LLMSpec(model_id=str(echo_model), backend="echo"), BuildOptions(hashes=True))
    assert bentoml.bentos.list() == []
    assert bentoml.models.list() == []


def _installed_from(monkeypatch: pytest.MonkeyPatch, version: str, origin: str | None) -> None:
    """Let every distribution be of `version`, with `origin` as its direct_url.json."""

    class Installed:
        def __init__(self, name: str) -> None:
            self.name, self.version = name, version

        def read_text(self, name: str) -> str | None:
            return origin if name == "direct_url.json" else None

    monkeypatch.setattr(importlib.metadata, "distribution", Installed)


ARCHIVE = '{"url": "file:///x.whl", "archive_info": {"hashes": {"sha256": "' + "a" * 64 + '"}}}'


def test_hashes_of_installed_archives_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed_from(monkeypatch, "1.0", ARCHIVE)
    assert known_hashes(["a==1.0", "b==1.0"]) == {"a==1.0": "a" * 64, "b==1.0": "a" * 64}


@pytest.mark.parametrize(
    ("version", "origin"),
    [
        ("1.0", None),
        ("1.0+cpu", ARCHIVE),
        ("1.0", "{"),
        ("1.0", '{"dir_info": {"editable": true}}'),
    ],
)
def test_without_a_hash_for_one_there_is_none(
    monkeypatch: pytest.MonkeyPatch, version: str, origin: str | None
) -> None:
    _installed_from(monkeypatch, version, origin)
    assert known_hashes(["a==1.0"]) is None
