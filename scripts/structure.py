"""Write what docs/structure.md says of every room and module from the code itself: their first
sentences, and the layers of pyproject.toml.

python scripts/structure.py  # rewrite the page
python scripts/structure.py --check  # say whether it is what the code says
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "structure.md"
WIDTH, COLUMN = 110, 26


def layers(name: str) -> str:
    """The floors of an import-linter contract, the top one first, and each room's sentence."""
    contract = next(contract for contract in _contracts() if contract["name"] == name)
    folder = ROOT.joinpath(*contract["containers"][0].split("."))
    floors = [_rooms(floor) for floor in contract["layers"]]
    lines: list[str] = []
    for number, rooms in zip(range(len(floors), 0, -1), floors, strict=True):
        for at, room in enumerate(rooms):
            head = f"{number:>2}  {room}" if at == 0 else f"    {room}"
            lines += entry(head, first_sentence(_module(folder / room)), column=18)
    return "\n".join(lines) + "\n"


def borders() -> str:
    """Which libraries are imported in which rooms alone."""
    rooms = {room for floor in _contracts()[0]["layers"] for room in _rooms(floor)}
    lines = ["| library | imported in |", "|---|---|"]
    for contract in _contracts():
        if contract["type"] == "forbidden":
            shut_out = {name.rpartition(".")[2] for name in contract["source_modules"]}
            libraries = [name for name in contract["forbidden_modules"] if not name.startswith("_")]
            lines.append(f"| {_list(libraries)} | {_list(sorted(rooms - shut_out))} |")
    return "\n".join(lines) + "\n"


def additions() -> str:
    """What can be added, and how: each room's own words."""
    lines = ["| in | to add |", "|---|---|"]
    for path in sorted((ROOT / "openllm").rglob("__init__.py")):
        for paragraph in docstring(path).split("\n\n"):
            if paragraph.startswith("To add "):
                words = " ".join(paragraph.split()).removeprefix("To add ").removeprefix("one: ")
                lines.append(f"| `{path.parent.relative_to(ROOT).as_posix()}/` | {words} |")
    return "\n".join(lines) + "\n"


def tree() -> str:
    """The package's rooms and modules, a line or two for each, in the order of their names."""
    return "\n".join(["openllm/", *_lines(ROOT / "openllm", 1)]) + "\n"


def _lines(folder: Path, depth: int) -> Iterator[str]:
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    if depth == 1:
        modules.insert(0, folder / "__init__.py")
    for path in modules:
        yield from entry("  " * depth + path.name, first_sentence(path))
    for path in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        yield from entry("  " * depth + f"{path.name}/", first_sentence(path / "__init__.py"))
        yield from _lines(path, depth + 1)


def entry(head: str, sentence: str, column: int = COLUMN) -> list[str]:
    """The lines for one module: what it is called, and from `column` on what it says."""
    head = head.ljust(column) if len(head) < column - 1 else head + "  "
    return textwrap.wrap(
        sentence,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * (column + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def first_sentence(path: Path) -> str:
    """The contract that a module opens with; "" where it says nothing."""
    paragraph = " ".join(docstring(path).split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph)[0].rstrip(".")


def docstring(path: Path) -> str:
    """Of the module in the file; "" for none."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _module(place: Path) -> Path:
    """The file of the package or module at `place`."""
    package = place / "__init__.py"
    return package if package.exists() else place.with_suffix(".py")


def _contracts() -> list[dict[str, Any]]:
    """Import-linter's contracts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return contracts


def _rooms(floor: str) -> list[str]:
    """Those of one layer: independent ones (|) and others (:)."""
    return re.split(r" [|:] ", floor)


def _list(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


PARTS: Mapping[str, Callable[[], str]] = {
    "layers": lambda: f"```\n{layers('Layers')}```\n",
    "bento": lambda: f"```\n{layers('Rooms of bento')}```\n",
    "borders": borders,
    "additions": additions,
    "tree": lambda: f"```\n{tree()}```\n",
}


def page(text: str) -> str:
    """`text`, the page, with all that is made of the code as it is now."""
    return replaced(text, PARTS, "scripts/structure.py")


def replaced(text: str, parts: Mapping[str, Callable[[], str]], script: str) -> str:
    """`text`, a page, with what stands between a part's two comments made anew."""
    for name, make in parts.items():
        begin, end = f"<!-- {name}: made by {script} -->\n", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"The page has no place for {name}: add {begin.strip()} and {end}")
        text = f"{before}{begin}{make()}{end}{after}"
    return text


def main() -> int:
    """0; with --check 1 where the page is not what the code says."""
    text = PAGE.read_text(encoding="utf-8")
    now = page(text)
    if "--check" in sys.argv:
        return int(now != text)
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
