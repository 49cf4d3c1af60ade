"""Write the tree in docs/structure.md from the first sentences of the modules themselves.

python scripts/structure.py  # rewrite the page
python scripts/structure.py --check  # say whether it is what the modules say
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "structure.md"
BEGIN, END = "<!-- tree: made by scripts/structure.py -->\n```\n", "```\n<!-- end of tree -->"
WIDTH, COLUMN = 110, 26


def tree() -> str:
    """The package's rooms and modules, a line or two for each, in the order of their names."""
    return "\n".join(["openllm/", *_lines(ROOT / "openllm", 1)]) + "\n"


def _lines(folder: Path, depth: int) -> Iterator[str]:
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    if depth == 1:
        modules.insert(0, folder / "__init__.py")
    for path in modules:
        yield from _entry(path.name, first_sentence(path), depth)
    for path in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        yield from _entry(f"{path.name}/", first_sentence(path / "__init__.py"), depth)
        yield from _lines(path, depth + 1)


def _entry(name: str, sentence: str, depth: int) -> list[str]:
    start = "  " * depth + name
    head = start.ljust(COLUMN) if len(start) < COLUMN - 1 else start + "  "
    return textwrap.wrap(
        sentence, WIDTH, initial_indent=head, subsequent_indent=" " * (COLUMN + 2)
    ) or [start]


def first_sentence(path: Path) -> str:
    """The contract that a module opens with; "" where it says nothing."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s+(?=[A-Z])", paragraph)[0].rstrip(".:")


def page(text: str) -> str:
    """`text`, the page, with the tree as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{tree()}{END}{after}"


def main() -> int:
    """0; with --check 1 where the page is not what the modules say."""
    text = PAGE.read_text(encoding="utf-8")
    now = page(text)
    if "--check" in sys.argv:
        return int(now != text)
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
