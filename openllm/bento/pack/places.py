"""Where in a recipe something is written: so that what is wrong with it is said with line and
column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from openllm.errors import ConfigurationError

MANY = "llms"


@contextmanager
def placed(path: Path, number: int, stronger: Collection[str] = ()) -> Iterator[None]:
    """Put file, line and column before an error about a key of spec `number` in `path`; not where
    one of the `stronger` keys, which are said elsewhere, replaces what stands there.
    """
    try:
        yield
    except ConfigurationError as error:
        key = str(error.param or "").partition(".")[0]
        mark = None if key in stronger else _marks(path, number).get(key)
        if mark is not None:
            error.message = f"{path.name}, {where(mark)}: {error.message}"
        raise


def where(mark: yaml.Mark) -> str:
    """The line and column of a mark, counted from 1."""
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _marks(path: Path, number: int) -> dict[str, yaml.Mark]:
    """Where each key of a spec stands, in a file that has been read before."""
    node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    found = _keys(node)
    if MANY in found:
        several = found[MANY][1]
        node = several.value[number] if isinstance(several, yaml.SequenceNode) else node
        found = _keys(node)
    return {name: key.start_mark for name, (key, _) in found.items()}


def _keys(node: yaml.Node | None) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The keys of a mapping, each with its node and that of its value."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): (key, value) for key, value in node.value}
