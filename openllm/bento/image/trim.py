"""Run while an image is built: removes the tests that packages bring along, which no service runs.

It stands alone, as it runs before openllm is installed: python trim.py DIRECTORY. A folder that a
module outside of it imports when it is itself imported stays, as some packages build on their own
tests; benchmarks do so, too, and do not count.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

NAME, BENCHMARKS = "tests", "benchmarks"
_IMPORT = re.compile(
    rb"^(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#]+))",
    re.MULTILINE,
)
_WORD = re.compile(r"[.\w]+")


def unused_tests(root: Path) -> list[Path]:
    """The outermost folders called `tests` below `root` (site-packages) that no module outside
    of them imports.
    """
    folders = [
        path
        for path in sorted(root.rglob("*"))
        if path.name == NAME and path.is_dir() and _outermost(path, root)
    ]
    used = _imported(root, {_dotted(path, root) for path in folders})
    return [path for path in folders if _dotted(path, root) not in used]


def main(root: str) -> int:
    for path in unused_tests(Path(root)):
        shutil.rmtree(path)
    return 0


def _outermost(path: Path, root: Path) -> bool:
    return NAME not in path.relative_to(root).parts[:-1]


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).parts)


def _imported(root: Path, names: set[str]) -> set[str]:
    """Those of `names` that a module outside of all of them imports."""
    found: set[str] = set()
    for module in root.rglob("*.py"):
        inner = module.relative_to(root)
        if not {NAME, BENCHMARKS}.isdisjoint(inner.parts[:-1]):
            continue
        source = module.read_bytes()
        if NAME.encode() in source:
            for text in _targets(source, inner.parts[:-1]):
                found |= {name for name in names if f"{text}.".startswith(f"{name}.")}
    return found


def _targets(source: bytes, package: tuple[str, ...]) -> Iterable[str]:
    """What the imports of a module name, absolute; `package` is where it stands."""
    for match in _IMPORT.finditer(source):
        origin, names, plain = (
            part.decode("utf-8", "replace") if part else "" for part in match.groups()
        )
        if plain:
            yield from (part.split()[0] for part in plain.split(",") if part.split())
            continue
        bare = origin.lstrip(".")
        dots = len(origin) - len(bare)
        above = package[: len(package) - dots + 1] if dots else ()
        start = ".".join([*above, *([bare] if bare else [])])
        yield from (f"{start}.{name}" for name in _WORD.findall(names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
