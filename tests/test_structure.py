"""The page that tells how the code is laid out says what is there, and the rooms are as it says."""

from __future__ import annotations

import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import openllm
from openllm.discovery import GROUPS
from scripts import reference, structure
from tests.naming import is_there
from tests.test_house import COLUMNS, LONGEST_FILE, LONGEST_FUNCTION, name_of

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "structure.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MODULES = sorted((ROOT / "openllm").rglob("*.py"))
FORMER = {f"openllm.{name}" for name in openllm.REPLACED}  # what says so itself
ELSEWHERE = {"openllm.AutoBackwardsLLM", "openllm.BackwardsLlama"}  # of a distribution of the tests
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])


def block(name: str) -> str:
    return PAGE.partition(f"<!-- {name}: made")[2].partition(f"<!-- end of {name} -->")[0]


def test_what_the_page_says_of_rooms_and_modules_is_what_they_say() -> None:
    assert structure.page(PAGE) == PAGE, "run: python scripts/structure.py"


def test_the_reference_has_the_commands_variables_and_fields_that_there_are() -> None:
    said = "run: python -m scripts.reference"
    assert reference.commands() == reference.COMMANDS.read_text(), said
    page = reference.CONFIGURATION.read_text()
    assert reference.configuration(page) == page, said


def test_every_module_is_in_the_tree() -> None:
    named = re.findall(r"^ +(\w+\.py)\b", block("tree"), re.MULTILINE)
    inside = [path for path in MODULES if path.name != "__init__.py"]
    assert sorted(named) == sorted(["__init__.py", *(path.name for path in inside)])


def test_the_floors_are_import_linters() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = {contract["name"]: contract for contract in linter["contracts"]}
    for name, title in (("layers", "Layers"), ("bento", "Rooms of bento")):
        floors: list[list[str]] = []
        for number, room in re.findall(r"^([ \d]{2})  (\w+)  ", block(name), re.MULTILINE):
            if number.strip():
                floors.append([])
            floors[-1].append(room)
        assert contracts[title]["exhaustive"] is True
        assert floors == [re.findall(r"\w+", layer) for layer in contracts[title]["layers"]]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    """Its contract, short enough for two lines of the tree."""
    opening = " ".join(structure.docstring(path).split("\n\n")[0].split())
    assert opening.endswith(".")
    assert opening == structure.first_sentence(path) + "."
    depth = len(path.relative_to(ROOT / "openllm").parts)
    assert len(structure.entry("  " * depth + path.name, opening)) <= 2


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_each_folder_that_is_discovered_says_how_to_add_to_it(group: str) -> None:
    folder = GROUPS[group].package.replace(".", "/")
    assert f"| `{folder}/` |" in block("additions")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_module_or_a_file_that_is_gone(page: Path) -> None:
    text = re.sub(r"^`[^`\n]+`:$", "", page.read_text(), flags=re.MULTILINE)  # files of the walks
    names = set(re.findall(r"`(openllm(?:\.\w+)+)(?![\w/])", text)) - {*GROUPS, *ELSEWHERE, *FORMER}
    paths = re.findall(r"`((?:openllm|tests|scripts|docs|templates|bentos)/[\w./-]*)`", text)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    gone = [name for name in sorted(names) if not is_there(name)]
    gone += [path for path in paths if not (ROOT / path).exists()]
    gone += [link for link in links if not (page.parent / link).exists()]
    assert gone == []


def test_the_rules_for_writing_have_the_numbers_that_are_counted() -> None:
    assert f"at most {COLUMNS} columns" in CONTRIBUTING
    assert f"a file of more than {LONGEST_FILE} lines" in CONTRIBUTING
    assert f"A function of more than {LONGEST_FUNCTION} lines" in CONTRIBUTING


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checkers alone count like any other."""
    graph = grimp.build_graph("openllm", cache_dir=None)
    assert len(graph.modules) > 100
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
