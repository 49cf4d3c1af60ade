"""The house's rules for every module of the package, counted in its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "openllm").rglob("*.py"))
COLUMNS = 100
LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 50  # lines, decorators and docstring left out

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def nested_conditions(tree: ast.AST) -> Iterator[int]:
    """The lines of conditional expressions that stand in another one, however deep."""
    for outer in ast.walk(tree):
        if isinstance(outer, ast.IfExp):
            inner = (item for item in ast.walk(outer) if item is not outer)
            yield from (item.lineno for item in inner if isinstance(item, ast.IfExp))


def length(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if said else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function and method by its dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef):
            name = f"{prefix}{node.name}"
            if isinstance(node, Function):
                yield name, node
            yield from functions(node, f"{name}.")
        else:
            yield from functions(node, prefix)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_module_keeps_to_the_house(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    wide = [at for at, line in enumerate(lines, 1) if len(line) > COLUMNS]
    found = [f"line {at} has more than {COLUMNS} columns" for at in wide]
    found += [f"line {at}: a condition within a condition" for at in nested_conditions(tree)]
    if len(lines) > LONGEST_FILE:
        found.append(f"{len(lines)} lines, more than {LONGEST_FILE}")
    if not ast.get_docstring(tree):
        found.append("it does not open with a docstring")
    for name, function in functions(tree):
        if length(function) > LONGEST_FUNCTION:
            found.append(f"{name} has {length(function)} lines, more than {LONGEST_FUNCTION}")
    assert found == []


def test_a_class_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = {}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse("def f(x):\n    'Says.'\n    return 1 if x else (2 if not x else 3)\n")
    assert list(nested_conditions(tree)) == [3]
    ((name, function),) = functions(tree)
    assert (name, length(function)) == ("f", 2)
    assert list(nested_conditions(ast.parse("a = 1 if b else 2\nc = 3 if d else 4\n"))) == []
