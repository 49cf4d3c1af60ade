"""The page that tells how the code is laid out names what is there."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "structure.md").read_text()


def test_every_module_at_the_top_is_on_the_page() -> None:
    inside = [path for path in (ROOT / "openllm").iterdir() if not path.name.startswith((".", "_"))]
    names = [f"{path.name}/" for path in inside if path.is_dir() and any(path.glob("*.py"))]
    names += [path.name for path in inside if path.suffix == ".py"]
    missing = [name for name in names if not re.search(rf"\b{re.escape(name)}", PAGE)]
    assert missing == []


def test_the_page_names_nothing_that_is_gone() -> None:
    tree = PAGE.partition("```\n")[2].partition("```")[0]
    named = re.findall(r"^  (\w+(?:\.py|/)) ", tree, re.MULTILINE)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / "openllm" / name).exists()] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checkers alone count like any other."""
    graph = grimp.build_graph("openllm", cache_dir=None)
    assert len(graph.modules) > 100
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
