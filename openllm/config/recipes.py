"""The recipes that come with openllm: one YAML file per ready-to-build Bento, found by being
there.
"""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".yaml"


def recipe_directory() -> Path:
    """`_bentos` of an installed openllm, `bentos` of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_bentos"
    return inside if inside.is_dir() else package.parent / "bentos"


def recipe_names() -> list[str]:
    """The recipes' names, sorted."""
    return sorted(path.stem for path in recipe_directory().glob(f"*{SUFFIX}"))


def find_recipe(name: str) -> Path | None:
    """The file of the recipe `name`; None when there is none of that name."""
    return recipe_directory() / f"{name}{SUFFIX}" if name in recipe_names() else None


def recipe_title(path: Path) -> str:
    """What the recipe says of itself: its first line, a comment."""
    with path.open(encoding="utf-8") as lines:
        first = next(lines, "")
    return first.lstrip("#").strip() if first.startswith("#") else ""
