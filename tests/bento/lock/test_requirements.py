"""A Bento's requirements are the versions of this environment, and no index is asked."""

from __future__ import annotations

import importlib.metadata
import re
import socket

import pytest
from packaging.utils import canonicalize_name

from openllm.bento.lock import completion, requirements
from openllm.bento.lock.completion import needs, read_left_out
from openllm.bento.lock.requirements import lock_requirements
from openllm.discovery import variants
from openllm.errors import BuildError, ConfigurationError
from tests.bento.lock.distributions import install_only


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_everything_is_pinned_to_what_is_installed() -> None:
    lines = list(lock_requirements(["echo"]).pins)
    assert lines == sorted(lines)
    for line in lines:
        name, _, version = line.partition("==")
        assert importlib.metadata.version(name).partition("+")[0] == version
    names = {line.partition("==")[0] for line in lines}
    assert {
        "bentoml",
        "starlette",
        "uvicorn",
        "transformers",
        "msgspec",
        "simple-di",
        "idna",
    } <= names
    assert "openllm" not in names
    assert not names & {"torch", "vllm", "pytest", "ruff", "openai"}


def test_a_backend_adds_what_it_lives_on() -> None:
    torch = [line for line in lock_requirements(["pytorch"]).pins if line.startswith("torch==")]
    assert torch == [f"torch=={importlib.metadata.version('torch').partition('+')[0]}"]
    assert not [line for line in lock_requirements(["pytorch"]).pins if "+" in line]


def test_a_marker_of_another_machine_does_not_count() -> None:
    assert not any(
        re.match(r"(pywin32|colorama)\b", line) for line in lock_requirements(["echo"]).pins
    )


def test_the_same_environment_gives_the_same_lines() -> None:
    assert lock_requirements(["pytorch", "echo"]) == lock_requirements(["echo", "pytorch", "echo"])


def test_a_package_that_is_missing_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = requirements.installed
    monkeypatch.setattr(
        requirements, "installed", lambda name: None if name == "uvicorn" else real(name)
    )
    with pytest.raises(
        BuildError, match=r"uvicorn is not installed here.*pip install 'uvicorn>="
    ) as error:
        lock_requirements(["echo"])
    assert "\n" not in str(error.value)


def test_a_distribution_of_another_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_providers", lambda: {"yaml_by_another_name": ["PyYAML"]})
    found = requirements.installed("yaml-by.another-name")
    assert found is not None
    assert found.name.lower() == "pyyaml"


def test_without_an_installed_openllm_there_is_no_bento(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(BuildError, match="runs from its source tree"):
        lock_requirements(["echo"])


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
    assert lock_requirements([]).pins == ("engine==3", "torch==2.0+cpu")


def test_what_is_not_here_is_left_out_with_the_name_of_who_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_only(monkeypatch, openllm=["engine"], engine=["sound>=2", "text"], text=[])
    found = lock_requirements([])
    assert found.pins == ("engine==1", "text==1")
    assert found.left_out == (("engine", "sound"),)
    assert read_left_out(found.lines()) == {("engine", "sound")}


def test_triton_is_left_out_where_torch_does_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"openllm": ["torch", "xgrammar"], "xgrammar": ["triton"], "triton": []}
    install_only(monkeypatch, **packages, torch=[])
    found = lock_requirements([])
    assert found.pins == ("torch==1", "xgrammar==1")
    assert found.left_out == (("xgrammar", "triton"),)
    install_only(monkeypatch, **packages, torch=["triton"])
    assert lock_requirements([]) == requirements.Lock(("torch==1", "triton==1", "xgrammar==1"), ())


def test_a_backend_that_nobody_knows_is_one_line() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^backend 'eleventh' is not one of vllm, pytorch"
    ):
        lock_requirements(["eleventh"])


def test_what_a_backend_runs_on_is_locked_though_no_extra_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variants("openllm.backends")  # what is installed is looked through once
    keras = {"keras": [], "keras-hub": ["keras"]}
    install_only(
        monkeypatch,
        openllm=['keras-hub; extra == "keras"', 'torch; extra == "pt"'],
        jax=["jaxlib"],
        jaxlib=[],
        **keras,
    )
    assert lock_requirements(["flax"]).pins == (
        "jax==1",
        "jaxlib==1",
        "keras-hub==1",
        "keras==1",
    )
    with pytest.raises(BuildError, match=r"tensorflow is not installed here"):
        lock_requirements(["tf"])


def test_another_distribution_may_need_an_extra_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    install_only(
        monkeypatch,
        openllm=["text", 'torch; extra == "pt"'],
        text=[],
        torch=[],
        engine=["openllm[pt]>=1", "sound"],
        sound=[],
    )
    found = lock_requirements([], ["engine"])
    assert found.pins == ("engine==1", "sound==1", "text==1", "torch==1")
    with pytest.raises(BuildError, match="silence is not installed here"):
        lock_requirements([], ["silence"])


@pytest.mark.parametrize("backend", ["echo", "pytorch"])
def test_a_lock_is_complete(backend: str) -> None:
    """It is installed without dependencies: all that a locked package requires is locked, or left
    out by name.
    """
    found = lock_requirements([backend])
    names = {pin.partition("==")[0] for pin in found.pins}
    for name in names:
        for child in needs(importlib.metadata.distribution(name), ("",)):
            wanted = canonicalize_name(child.name)
            assert wanted in names or (name, wanted) in found.left_out


def test_the_cpu_lock_has_no_triton() -> None:
    assert not [
        pin for pin in lock_requirements(["pytorch"]).pins if pin.startswith(("triton", "nvidia-c"))
    ]
