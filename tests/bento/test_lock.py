"""A Bento's requirements are the versions of this environment, and no index is asked."""

from __future__ import annotations

import importlib.metadata
import re
import socket

import pytest

from openllm.bento import lock
from openllm.bento.lock import add_hashes, lock_requirements
from openllm.errors import BuildError


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_everything_is_pinned_to_what_is_installed() -> None:
    lines = lock_requirements(["echo"])
    assert lines == sorted(lines)
    for line in lines:
        name, _, version = line.partition("==")
        assert importlib.metadata.version(name).partition("+")[0] == version
    names = {line.partition("==")[0] for line in lines}
    assert {"bentoml", "starlette", "uvicorn", "transformers", "msgspec", "simple-di", "idna"} <= names
    assert "openllm" not in names
    assert not names & {"torch", "vllm", "pytest", "ruff", "openai"}


def test_a_backend_adds_what_it_lives_on() -> None:
    torch = [line for line in lock_requirements(["pytorch"]) if line.startswith("torch==")]
    assert torch == [f"torch=={importlib.metadata.version('torch').partition('+')[0]}"]
    assert not [line for line in lock_requirements(["pytorch"]) if "+" in line]


def test_a_marker_of_another_machine_does_not_count() -> None:
    assert not any(re.match(r"(pywin32|colorama)\b", line) for line in lock_requirements(["echo"]))


def test_the_same_environment_gives_the_same_lines() -> None:
    assert lock_requirements(["pytorch", "echo"]) == lock_requirements(["echo", "pytorch", "echo"])


def test_a_package_that_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = lock._installed
    monkeypatch.setattr(lock, "_installed", lambda name: None if name == "uvicorn" else real(name))
    with pytest.raises(BuildError, match=r"uvicorn is not installed here.*pip install 'uvicorn>=") as error:
        lock_requirements(["echo"])
    assert "\n" not in str(error.value)


def test_a_distribution_of_another_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_providers", lambda: {"yaml_by_another_name": ["PyYAML"]})
    found = lock._installed("yaml-by.another-name")
    assert found is not None
    assert found.name.lower() == "pyyaml"


def test_without_an_installed_openllm_there_is_no_bento(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(BuildError, match="runs from its source tree"):
        lock_requirements(["echo"])


def _installed_from(monkeypatch: pytest.MonkeyPatch, version: str, origin: str | None) -> None:
    """Let every distribution be of `version`, with `origin` as its direct_url.json."""

    class Installed:
        def __init__(self, name: str) -> None:
            self.name, self.version = name, version

        def read_text(self, name: str) -> str | None:
            return origin if name == "direct_url.json" else None

    monkeypatch.setattr(importlib.metadata, "distribution", Installed)


ARCHIVE = '{"url": "file:///x.whl", "archive_info": {"hashes": {"sha256": "' + "a" * 64 + '"}}}'


def test_pins_get_hashes_where_all_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    _installed_from(monkeypatch, "1.0", ARCHIVE)
    assert add_hashes(["a==1.0", "b==1.0"]) == [f"{name}==1.0 --hash=sha256:{'a' * 64}" for name in "ab"]
    assert add_hashes(["a==1.0", "b>=1"]) is None


@pytest.mark.parametrize(
    ("version", "origin"),
    [("1.0", None), ("1.0+cpu", ARCHIVE), ("1.0", "{"), ("1.0", '{"dir_info": {"editable": true}}')],
)
def test_without_a_hash_for_one_there_is_none(
    monkeypatch: pytest.MonkeyPatch, version: str, origin: str | None
) -> None:
    _installed_from(monkeypatch, version, origin)
    assert add_hashes(["a==1.0"]) is None


def test_a_local_version_stays_where_a_package_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def __init__(self, name: str) -> None:
            versions = {"openllm": "1", "torch": "2.0+cpu", "engine": "3"}
            if name not in versions:
                raise importlib.metadata.PackageNotFoundError(name)
            needs = {"openllm": ["torch>=2", "engine"], "engine": ["torch==2.0+cpu"]}
            self.name, self.version, self.requires = name, versions[name], needs.get(name, [])

    monkeypatch.setattr(importlib.metadata, "distribution", Installed)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: Installed(name).version)
    assert lock_requirements([]) == ["engine==3", "torch==2.0+cpu"]
