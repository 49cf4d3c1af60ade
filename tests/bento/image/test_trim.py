"""Which tests of packages an image goes without."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.image.trim import main, unused_tests


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_tests_that_nobody_imports_go(tmp_path: Path) -> None:
    write(
        tmp_path,
        a__tests__one="",
        a__code="from .other import tests_of_it\nx = 'import a.tests'\n",
        a__b__tests__two="from a.tests import one\n",
        a__b__tests__tests__three="",
        a__benchmarks__slow="from a.tests import one\n",
        a__lazy="def run():\n    from a.tests import one\n",
        a__testing="",
    )
    assert main(str(tmp_path)) == 0
    assert not list(tmp_path.rglob("tests"))
    assert (tmp_path / "a/testing.py").exists()
    assert (tmp_path / "a/benchmarks/slow.py").exists()


@pytest.mark.parametrize(
    "line",
    [
        "import a.tests.one",
        "import os, a.tests.one as one",
        "from a.tests import one",
        "from a.tests.one import x",
        "from a import code, tests",
        "from a import (\n    code,\n    tests,\n)",
        "from .tests.one import x",
        "from . import tests",
    ],
)
def test_tests_that_a_package_needs_stay(tmp_path: Path, line: str) -> None:
    write(tmp_path, a__tests__one="x = 1", b__tests__one="", a__code=f"{line}\n")
    assert unused_tests(tmp_path) == [tmp_path / "b/tests"]


def test_a_relative_import_of_a_package_above(tmp_path: Path) -> None:
    write(tmp_path, a__tests__one="", a__b__code="from ..tests import one\n", a__b__tests__two="")
    assert unused_tests(tmp_path) == [tmp_path / "a/b/tests"]
