"""What the pages of docs/, the README and CONTRIBUTING say can be followed: links lead to headings,
commands and their options exist, Python can be read, and everything is a page of the site.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from openllm.cli import cli
from openllm.config.settings import all_variables
from tests.naming import is_there
from tests.test_house import name_of
from tests.test_structure import PAGES, ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROOTED = click.Context(cli, info_name="openllm", **cli.context_settings)
WALKED = ("CONTRIBUTING.md", "structure.md")  # commands that it adds; no commands


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return BLOCK.sub("", text)


def headings(text: str) -> set[str]:
    """The anchors of a page as the site makes them; GitHub makes the same of what is linked."""
    found = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", each).strip().lower()) for each in found}


def command_lines(text: str) -> Iterator[str]:
    """The lines of shell in blocks, and what stands in the text as `openllm ...`."""
    for kind, block in BLOCK.findall(text):
        if kind in ("", "console", "bash", "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            yield from (
                line.removeprefix("$ ") for line in lines if kind != "console" or line[:2] == "$ "
            )
    yield from re.findall(r"(?<!`)`(openllm [^`]+)`(?!`)", prose(text))


def unknown(line: str) -> str | None:
    """What of an openllm command in a line of shell does not exist; None: all of it does."""
    for words in calls(line):
        command: click.Command | None = cli
        while isinstance(command, click.Group) and words and words[0][:1] not in ("-", ""):
            if re.fullmatch(r"\[?[A-Z|…]+\]?|\.\.\.", words[0]):  # stands for some
                break
            names = words[0].split("|")
            if missing := [each for each in names if command.get_command(ROOTED, each) is None]:
                return missing[0]
            command, words = command.get_command(ROOTED, names[0]), words[1:]
        assert command is not None
        known = {"-h", "--help"}
        for param in command.params:
            known |= {*param.opts, *param.secondary_opts}
        for word in words:
            if word.startswith("-") and word != "-" and word.partition("=")[0] not in known:
                return word
    return None


def calls(line: str) -> Iterator[list[str]]:
    """The arguments of each openllm that a line of shell calls."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # no shell at all
        return
    while "openllm" in words:
        words = words[words.index("openllm") + 1 :]
        end = next((at for at, word in enumerate(words) if set(word) <= set("|;&<>()")), None)
        yield words[:end]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_headings(page: Path) -> None:
    text = page.read_text()
    lost = [
        f"{target}#{anchor}"
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", prose(text))
        if anchor not in headings((page.parent / target).read_text() if target else text)
    ]
    assert lost == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in WALKED], ids=name_of)
def test_commands_and_their_options_exist(page: Path) -> None:
    assert [found for line in command_lines(page.read_text()) if (found := unknown(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_variables_exist(page: Path) -> None:
    named = set(re.findall(r"\bOPENLLM_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    assert named - {row.name for row in all_variables()} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_can_be_read_as_what_they_are(page: Path) -> None:
    """Python compiles and imports what is there; JSON and YAML parse."""
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "json":
            json.loads(block)
        elif kind == "yaml":
            yaml.safe_load(block)
        elif kind == "python":
            tree = ast.parse(block)
            names = {
                f"{node.module}.{alias.name}"
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            ours = {name for name in names if name.startswith("openllm.")}
            assert {name for name in ours if not is_there(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_list_is_one_on_the_site_too(page: Path) -> None:
    """Which wants an empty line before it, unlike GitHub."""
    joined = re.findall(
        r"^(?![-|#>]|\d+\. |\s).*\n(- .*|\d+\. .*)$", prose(page.read_text()), re.MULTILINE
    )
    assert joined == []


def test_what_does_not_exist_is_found() -> None:
    assert unknown("openllm strat") == "strat"
    assert unknown("git diff | openllm ask --modle x") == "--modle"
    assert unknown(r"openllm adapters list\|drop NAME") == "drop"
    assert unknown("openllm ask - < question.txt; openllm start --port=1 | tee --append x") is None
    assert headings("# A `b`: C - d\n```\n# no\n```\n") == {"a-b-c-d"}


def test_every_page_is_in_the_navigation_once() -> None:
    def named(part: object) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        for each in part if isinstance(part, list) else ():
            yield from named(each)
        for each in part.values() if isinstance(part, dict) else ():
            yield from named(each)

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert sorted(named(site["nav"])) == sorted([*pages, "contributing.md"])
