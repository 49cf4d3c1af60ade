"""Write the reference pages from the code: docs/commands.md from the click commands, and in
docs/configuration.md the variables, what a request says of sampling, and what a family says.

    python -m scripts.reference
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from openllm.cli import GROUP, cli
from openllm.cli.commands.env import variables_table
from openllm.config.settings import setting_variables
from openllm.config.variables import SPEC_VARIABLES
from openllm.discovery import variants
from scripts.structure import ROOT, replaced

COMMANDS = ROOT / "docs" / "commands.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
SHARED = {
    "Options of a deployment": frozenset(row.field for row in SPEC_VARIABLES),
    "Options of a server": frozenset(
        row.field for row in setting_variables() if row.name.startswith("OPENLLM_")
    )
    - {"endpoint"},
}
NOTE = re.compile(r"(?:default: (?P<default>.*?))?(?:; |^|$)(?P<other>\S*[<>]\S*|required)?")
COMMON = {"debug", "quiet"}  # which the page's beginning tells of
HOME = "start"  # the command that has all of those
ABOUT = """# Commands

Every command and every option, as `openllm COMMAND --help` has them; this page is written by
`scripts/reference.py`. [On the command line](cli.md) tells how they are used. All of them take
`--quiet` (`-q`), which leaves results, warnings and errors, `--debug`, which shows the traceback of
an error, and `--help` (`-h`). Most options are variables, too: [Configuration](configuration.md).
What several commands share stands at the end: [options of a deployment](#options-of-a-deployment)
and [of a server](#options-of-a-server).
"""


def commands() -> str:
    """docs/commands.md: our own commands in the order of their names, then what they share."""
    context = click.Context(cli, info_name="openllm", **cli.context_settings)
    lines = [ABOUT.rstrip("\n")]
    for name in cli.list_commands(context):
        if variants(GROUP)[name.replace("-", "_")].distribution is None:
            command = cli.get_command(context, name)
            assert command is not None
            lines += _command(command, click.Context(command, context, name))
    start = cli.get_command(context, HOME)
    assert start is not None
    for title, fields in SHARED.items():
        lines += [
            "",
            f"## {title}",
            "",
            *_options(start, click.Context(start, context), only=fields),
        ]
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context) -> list[str]:
    """One command and those below it; a line where the command is another module's."""
    path = context.command_path
    lines = ["", f"{'#' * len(path.split())} {path}", ""]
    home = command.callback.__module__.rpartition(".")[2] if command.callback else ""
    if context.parent and context.parent.command is cli and home != context.info_name:
        return [*lines, f"Another name of [`openllm {home}`](#openllm-{home})."]
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    lines += ["```", usage, "```", "", *_help(command)]
    names = {param.name for param in command.params}
    whole = {title: fields for title, fields in SHARED.items() if fields <= names}
    options = _options(command, context, only=names.difference(*whole.values(), COMMON))
    if whole:
        links = " and ".join(f"[{title.lower()}](#{_slug(title)})" for title in whole)
        options.append(f"- all {links}")
    if options:
        lines += ["", *options]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            lines += _command(below, click.Context(below, context, name))
    return lines


def _help(command: click.Command) -> Iterator[str]:
    """The help's paragraphs; those that click would not wrap are blocks of code."""
    for number, paragraph in enumerate(inspect.cleandoc(command.help or "").split("\n\n")):
        if number:
            yield ""
        lines = paragraph.strip("\n").splitlines()
        if lines[0].strip() == "\b":
            yield from ("```", *lines[1:], "```")
        else:
            yield from lines


def _options(
    command: click.Command, context: click.Context, only: Collection[str | None]
) -> list[str]:
    """An item of a list for each option that `only` names and the help shows."""
    found = []
    for param in command.params:
        if isinstance(param, click.Option) and param.name in only:
            record = param.get_help_record(context)
            if record is not None:  # else it is hidden
                found.append(f"- `{record[0]}`: {_ended(record[1])}")
    return found


def _ended(text: str) -> str:
    """An option's help with what click says in brackets (default, range, required) as sentences."""
    said, *notes = re.split(r"  \[", text.removesuffix("]"))
    parts = [said.strip() if said.strip().endswith((".", "?")) else f"{said.strip()}."]
    for note in notes:
        found = NOTE.fullmatch(note.removesuffix("]"))
        assert found is not None
        if found["default"]:
            default = re.sub(r"^\((.*)\)$", r"\1", found["default"])  # click's, around words
            parts.append(f"Default: `{default}`.")
        if found["other"]:
            parts.append("Required." if found["other"] == "required" else f"`{found['other']}`.")
    return " ".join(parts)


def fields(path: Path, name: str) -> str:
    """A table of the annotated names in the body of a class, and what the comments beside and above
    each say.
    """
    text = path.read_text(encoding="utf-8")
    comments = {
        token.start[0]: (token.line.strip() == token.string, token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    body = next(
        node.body
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    lines = ["| name | type | default | meaning |", "|---|---|---|---|"]
    for item in body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            kind = re.sub(r"^ClassVar\[(.*)\]$", r"\1", ast.unparse(item.annotation))
            default = _default(item.value)
            meaning = " ".join(_comments(comments, item)).replace("|", r"\|")
            kind = kind.replace("|", "or")
            lines.append(f"| `{item.target.id}` | {kind} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(value: ast.expr | None) -> str:
    text = "" if value is None else ast.unparse(value)
    factory = re.fullmatch(r"attrs\.field\(factory=dict\)", text)
    return f"`{'{}' if factory else text}`" if text else "none"


def _comments(comments: dict[int, tuple[bool, str]], item: ast.AnnAssign) -> list[str]:
    """Those on lines of their own above an item, then the one at its end."""
    above, line = list[str](), item.lineno - 1
    while line in comments and comments[line][0]:
        above.insert(0, comments[line][1])
        line -= 1
    last = comments.get(item.end_lineno or item.lineno)
    return [*above, *([last[1]] if last else [])]


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def configuration(text: str) -> str:
    """`text`, docs/configuration.md, with its tables as they are now."""
    parts = {
        "variables": lambda: f"\n{variables_table()}\n\n",
        "sampling": lambda: "\n" + fields(ROOT / "openllm" / "types.py", "SamplingParams") + "\n",
        "families": lambda: (
            "\n" + fields(ROOT / "openllm" / "models" / "base.py", "LLMConfig") + "\n"
        ),
    }
    return replaced(text, parts, "scripts/reference.py")


def main() -> int:
    COMMANDS.write_text(commands(), encoding="utf-8")
    text = CONFIGURATION.read_text(encoding="utf-8")
    CONFIGURATION.write_text(configuration(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
