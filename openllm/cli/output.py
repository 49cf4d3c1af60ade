"""How commands print: results on stdout as a table, JSON or bare text; what happens meanwhile on
stderr.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from openllm.cli.words import FLAGS
from openllm.errors import say

GAP = 2  # columns between columns


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell, the last one ragged."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        line = "".join(cell.ljust(width + GAP) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def quiet() -> bool:
    """Whether the command line says --quiet."""
    context = click.get_current_context(silent=True)
    return context is not None and bool((context.find_root().obj or {}).get("quiet"))


def log_level(level: str) -> str:
    """The least severity that a command logs: `level`, with --quiet no less than a warning."""
    return "warning" if quiet() and level in ("debug", "info") else level


def note(text: str) -> None:
    """One line of progress; nothing with --quiet."""
    if not quiet():
        warn(text)


def warn(text: str) -> None:
    """One line on stderr; what would not print stands there as a question mark."""
    said = say(text, FLAGS)
    click.echo("".join(each if each.isprintable() else "?" for each in said), err=True)
