"""Models from a Hub into the store, as processes: killed, side by side, damaged, without room."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openllm.weights.aliases import set_alias
from openllm.weights.fetching.blobs import ASIDE
from openllm.weights.store import find_model
from tests.bento.conftest import home
from tests.checkpoints import FILES, tensors
from tests.cli.commands.test_pull import run
from tests.cli.conftest import Run
from tests.hub import FakeHub

__all__ = ["home", "run"]


def weights(size: int) -> bytes:
    """A safetensors file with `size` bytes that cannot be told from noise."""
    whole = tensors(a=size // 4)
    return whole[:-size] + random.Random(3).randbytes(size)


WEIGHTS = weights(12 * 2**20)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr("openllm.weights.fetching.faults._FIRST_PAUSE", 0.0)
    with FakeHub() as hub:
        hub.large = 2**20
        hub.add("org/model", {**FILES, "model.safetensors": WEIGHTS})
        hub.connect(monkeypatch, tmp_path / "hf")
        yield hub


class Pulls:
    """`openllm pull org/model` as processes, on one cache and store."""

    def __init__(self, hub: FakeHub, tmp_path: Path) -> None:
        self.cache, self.home = tmp_path / "hf", tmp_path / "store"
        self._environ = {
            **os.environ,
            **hub.environ(self.cache),
            "BENTOML_HOME": str(self.home),
            "BENTOML_DO_NOT_TRACK": "1",
        }

    def begin(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "openllm", "pull", "org/model", "-o", "tag", *args],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def halves(self) -> list[Path]:
        """Unfinished work, wherever it may lie."""
        found = [*(self.home / "tmp").glob("*"), *self.cache.glob("hub/*/blobs/*.*")]
        return [*found, *(self.home / "models").glob(".*"), *self.home.glob("openllm-*/.*")]


def until_sent(hub: FakeHub, size: int) -> None:
    while sum(hub.sent.values()) < size:  # the test's own limit of time ends this
        time.sleep(0.01)


def test_killed_while_it_fetches_it_goes_on_from_there(hub: FakeHub, tmp_path: Path) -> None:
    pulls = Pulls(hub, tmp_path)
    hub.rate = 2e6
    killed = pulls.begin()
    until_sent(hub, 8 * 2**20)
    killed.kill()
    killed.communicate()
    assert pulls.halves()
    assert not list(pulls.home.glob("models/*/*/model.yaml"))
    hub.rate, hub.asked = 0, 0
    first, second = pulls.begin(), pulls.begin()  # the next run, and one beside it
    said = [each.communicate() for each in (first, second)]
    assert [each.returncode for each in (first, second)] == [0, 0], said
    assert said[0][0] == said[1][0]
    assert hub.asked < 8 * 2**20  # of 12
    assert pulls.halves() == []
    (stored,) = pulls.home.glob("models/*/*/model.safetensors")
    assert stored.read_bytes() == WEIGHTS


def test_a_flipped_bit_is_found_and_the_file_fetched_again(
    hub: FakeHub, run: Run, home: Path
) -> None:
    tag = run("pull", "org/model", "-o", "tag").stdout.strip()
    stored = find_model(tag, home).path
    # the cache and the store have the same file: both are damaged
    for name, at in (("model.safetensors", 5_000_000), ("config.json", 2)):
        with (stored / name).open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
    found = run("verify", tag)
    assert found.exit_code == 1
    assert "config.json, model.safetensors" in found.stderr
    assert f"openllm pull {tag}" in found.stderr
    hub.sent.clear()
    assert run("pull", tag, "-o", "tag").stdout.strip() == tag
    assert sum(hub.sent.values()) < len(WEIGHTS) + 100_000
    assert run("verify", tag).exit_code == 0
    assert (stored / "model.safetensors").read_bytes() == WEIGHTS
    (stored / "config.json").write_bytes(b"{}")  # a copy: the cache is as it was
    (stored / "notes.txt").write_bytes(b"mine")
    assert run("pull", "org/model").exit_code == 0
    assert run("verify", tag).exit_code == 0


@pytest.mark.parametrize("gone", ["offline", "unreachable", "half", "unwritable"])
def test_what_is_damaged_stays_where_it_cannot_be_fetched(
    hub: FakeHub, run: Run, monkeypatch, tmp_path, gone: str
) -> None:
    assert run("pull", "org/model").exit_code == 0
    (snapshot,) = tmp_path.glob("hf/hub/*/snapshots/*")
    edited = {"config.json": FILES["config.json"] + b" ", "tokenizer.json": b'{"mine": 1}'}
    for name, data in edited.items():
        (snapshot / name).write_bytes(data)
    before = sorted(tmp_path.glob("hf/hub/*/blobs/*"))
    if gone == "offline":
        hub.connect(monkeypatch, tmp_path / "hf", offline=True)
    elif gone == "unreachable":
        hub.stop()
        monkeypatch.setattr(time, "sleep", lambda _: None)  # between the Hub client's own tries
    elif gone == "half":
        hub.fault = lambda method, path: (403, {}, b"") if "/config.json" in path else None
    else:
        monkeypatch.setattr(Path, "rename", refuse_to_rename)
    result = run("pull", "org/model")
    assert (result.exit_code, result.stderr.count("Error:")) == (1, 1)
    assert "is damaged in the Hub's cache" in result.stderr.splitlines()[-1]
    assert (snapshot / "config.json").read_bytes() == edited["config.json"]
    if gone != "half":
        assert (snapshot / "tokenizer.json").read_bytes() == edited["tokenizer.json"]
    assert sorted(tmp_path.glob("hf/hub/*/blobs/*")) == before


def refuse_to_rename(path: Path, target: Path) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(path))


def test_a_damaged_file_that_a_killed_pull_set_aside_goes(hub: FakeHub, run: Run, tmp_path) -> None:
    assert run("pull", "org/model").exit_code == 0
    (snapshot,) = tmp_path.glob("hf/hub/*/snapshots/*")
    blob = (snapshot / "tokenizer.json").resolve()
    blob.rename(blob.with_name(blob.name + ASIDE))
    assert run("pull", "org/model").exit_code == 0
    assert blob.read_bytes() == FILES["tokenizer.json"]
    assert run("pull", "org/model").exit_code == 0
    assert not list(tmp_path.glob("hf/hub/*/blobs/*.*"))


def test_a_damaged_model_of_a_directory_says_what_to_do(run: Run, home: Path, tmp_path) -> None:
    for name, data in FILES.items():
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(data)
    tag = run("pull", str(tmp_path / "mine"), "-o", "tag").stdout.strip()
    (find_model(tag, home).path / "config.json").write_bytes(b"{}")
    result = run("pull", tag)
    assert (result.exit_code, result.stderr.count("Error:")) == (1, 1)
    assert "config.json. Remove it (openllm rm) and pull it again." in result.stderr
    assert run("pull", str(tmp_path / "mine")).exit_code == 0
    assert run("verify", tag).exit_code == 0


def test_one_model_is_on_the_disk_once(hub: FakeHub, run: Run, home: Path, tmp_path) -> None:
    tag = run("pull", "org/model", "-o", "tag").stdout.strip()
    other = run("pull", "org/model", "--name", "mine", "-o", "tag").stdout.strip()
    set_alias("prod", tag, home)
    blocks = {
        (path.stat().st_dev, path.stat().st_ino): path.stat().st_size
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert sum(blocks.values()) < len(WEIGHTS) * 1.01
    assert other.partition(":")[2] == tag.partition(":")[2]


def test_no_room_is_said_before_anything_is_fetched(hub: FakeHub, run: Run, monkeypatch) -> None:
    free = type("Usage", (), {"free": 5 * 2**20})()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    result = run("pull", "org/model")
    assert (result.exit_code, result.stderr.count("Error:")) == (1, 1)
    assert "needs 12.0 MiB, and the disk of the Hub's cache has 5.0 MiB left" in result.stderr
    assert not [path for path in hub.sent if path.startswith("/cdn/")]
