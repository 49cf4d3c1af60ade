"""What is found without being named anywhere: in a folder, or by an entry point."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from openllm import discovery
from openllm.discovery import GROUPS, Variant, did_you_mean, load, load_each, near, variants
from openllm.errors import BrokenExtension
from tests.extensions import (
    ALL,
    BACKWARDS,
    HELLO,
    Published,
    install,
    installed,
    write_metadata,
)

COMMANDS = "openllm.commands"


def _command(variant: Variant, module: ModuleType) -> object:
    return module.command


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder on the path of this process, into which distributions may be installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    with installed(folder):
        yield folder


def _publish(folder: Path, name: str, value: str, text: str, group: str = COMMANDS) -> Published:
    """Install a distribution of one module `openllm_NAME`."""
    published = Published(f"openllm-{name}", {group: {name: value}})
    (folder / f"{published.module}.py").write_text(text)
    write_metadata(folder, published)
    importlib.invalidate_caches()
    return published


@pytest.mark.parametrize("group", GROUPS)
def test_each_kind_is_in_its_own_folder_and_nothing_else_counts(group: str) -> None:
    names = list(variants(group))
    assert names == sorted(names)
    assert not [name for name in names if name.startswith("_")]
    assert all(variant.group == group for variant in variants(group).values())


def test_a_package_of_backends_is_one_only_if_it_has_facts() -> None:
    assert list(variants("openllm.backends")) == ["echo", "flax", "pytorch", "tf", "vllm"]


def test_a_distribution_adds_a_variant_of_each_kind(site: Path) -> None:
    install(site, *ALL)
    for group, name in (
        ("openllm.backends", "backwards"),
        ("openllm.families", "heron"),
        ("openllm.protocols", "telegraph"),
        ("openllm.commands", "hello_there"),
        ("openllm.tools", "shout"),
        ("openllm.reasoning", "mutter"),
    ):
        assert variants(group)[name].distribution is not None
        assert variants(group)[name].module not in sys.modules  # to list them imports nothing


def test_ours_goes_before_another_of_its_name(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    _publish(site, "start", "openllm_start", "")
    assert variants(COMMANDS)["start"].distribution is None
    assert caplog.messages == [
        "The command 'start' of openllm-start is not used: openllm has one of that name."
    ]


@pytest.mark.parametrize(
    ("value", "text", "says"),
    [
        ("openllm_gone", "", "ModuleNotFoundError: No module named 'openllm_gone'"),
        ("openllm_bad", "import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
        ("openllm_bad", "1 / 0", "ZeroDivisionError: division by zero"),
        ("openllm_bad", "if", "SyntaxError: invalid syntax"),
        ("openllm_bad", "", "AttributeError: module 'openllm_bad' has no attribute 'command'"),
    ],
)
def test_a_broken_one_is_one_line_that_names_its_distribution(
    site: Path, value: str, text: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    _publish(site, "bad", value, text)
    with pytest.raises(BrokenExtension) as caught:
        load(variants(COMMANDS)["bad"], _command)
    line = str(caught.value)
    assert line.startswith("The command 'bad' of openllm-bad cannot be loaded: ")
    assert says in line
    assert line.endswith("Update or uninstall openllm-bad.")
    assert "\n" not in line
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert load_each([variants(COMMANDS)["bad"]], _command) == []
    assert caplog.messages == [line]


def test_an_error_of_our_own_is_not_hidden() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        load(variants(COMMANDS)["models"], lambda variant, module: module.nothing)


def test_the_file_of_a_module_is_found_without_importing_it(site: Path) -> None:
    install(site, HELLO, BACKWARDS)
    found = variants(COMMANDS)["hello_there"]
    assert discovery.source_file(found) == site / "openllm_hello" / "__init__.py"
    inner = Variant(COMMANDS, "facts", "openllm_backwards.facts", "openllm-backwards")
    assert discovery.source_file(inner) == site / "openllm_backwards" / "facts.py"
    assert discovery.source_file(Variant(COMMANDS, "no", "openllm_no.such", "no")) is None
    assert not {"openllm_hello", "openllm_backwards"} & set(sys.modules)


def test_the_nearest_words_are_named() -> None:
    assert near("strat", ["start", "verify", "star"]) == ["start", "star"]
    assert near("strat", ["start", "star"], most=1) == ["start"]
    assert near("zzz", ["start"]) == []
    assert near("s" * 10**6, ["s" * 128]) == ["s" * 128]  # only so much of a word is looked at
    assert did_you_mean("strat", ["start", "star"]) == "Did you mean start or star?"
    assert did_you_mean("zzz", ["start"]) is None
