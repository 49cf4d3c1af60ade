"""Make API keys, and look at a file of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from openllm.cli import DebugGroup
from openllm.cli.given.options import FORMATS, format_option, with_options
from openllm.cli.output import print_json, print_table
from openllm.errors import InvalidRequest

if TYPE_CHECKING:
    from openllm.http.keys.entry import KeyEntry

F = TypeVar("F", bound=Callable[..., Any])
SHORTEST = 12  # characters of a key that somebody has chosen


@click.group(cls=DebugGroup)
def command() -> None:
    """Make API keys for `openllm start --api-keys-file`, and look at a file of them.

    The file holds a list of entries in YAML: names and hashes, never the keys themselves.
    """


def _entry_options(function: F) -> F:
    """What an entry says beside name and hash."""
    return with_options(
        function,
        click.option(
            "--model",
            "models",
            multiple=True,
            metavar="GLOB",
            help="A model or adapter it may use, such as demo or llama-*; may be repeated.",
        ),
        click.option("--requests-per-minute", type=int, help="Requests it may send a minute."),
        click.option(
            "--tokens-per-minute", type=int, help="Tokens of prompts and answers a minute."
        ),
        click.option("--max-requests", type=int, help="Requests it may have in flight."),
        click.option("--expires", metavar="DATE", help="Last day on which it is valid, in UTC."),
    )


@command.command("new")
@click.argument("name")
@_entry_options
def new(name: str, **options: Any) -> None:
    """Make a key called NAME.

    The key is shown once, on standard error; the entry for the file goes to standard output:

    \b
    openllm keys new team-a --tokens-per-minute 100000 >> keys.yaml
    """
    from openllm.http.keys.entry import new_key, sha256_of

    key = new_key()
    _print_entry(name, f"sha256:{sha256_of(key.encode())}", options)
    click.echo(f"The key of {name}, which is not shown again: {key}", err=True)


@command.command("hash")
@click.argument("name")
@_entry_options
def hash_words(name: str, **options: Any) -> None:
    """Make an entry called NAME for a key of your own choice.

    The key is asked for, or read from standard input. What people choose can be guessed, so that
    its hash is a slow one; prefer `openllm keys new`.
    """
    from openllm.http.keys.entry import scrypt_of

    if sys.stdin.isatty():
        key = click.prompt("Key", hide_input=True, confirmation_prompt=True, err=True)
    else:
        key = sys.stdin.readline().rstrip("\r\n")
    if not re.fullmatch(rf"\S[ -~]{{{SHORTEST - 2},}}\S", key):
        raise InvalidRequest(
            f"A key must have at least {SHORTEST} characters of ASCII, and no spaces at its ends."
        )
    _print_entry(name, scrypt_of(key), options)


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@format_option(*FORMATS)
def check(file: Path, output: str) -> None:
    """Read FILE as a server does, and list its keys."""
    from openllm.http.keys.file import read_keys

    entries = read_keys(file)
    if output == "json":
        print_json([_shown(entry) for entry in entries])
        return
    columns = ("name", "models", "requests", "tokens", "at once", "expires")
    rows = [tuple(_shown(entry).values()) for entry in entries]
    print_table(
        tuple(column.upper() for column in columns), [tuple(map(_text, row)) for row in rows]
    )


def _shown(entry: KeyEntry) -> dict[str, Any]:
    limits = entry.limits
    return {
        "name": entry.name,
        "models": list(entry.models) if entry.models is not None else None,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "max_requests": limits.max_requests,
        "expires": entry.expires.isoformat() if entry.expires is not None else None,
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _print_entry(name: str, hashed: str, options: Mapping[str, Any]) -> None:
    """One item of the file's list, once it is known to be valid. Errors: ConfigurationError."""
    import yaml

    from openllm.http.keys.entry import read_entry

    said = {field: value for field, value in options.items() if value not in (None, ())}
    if "models" in said:
        said["models"] = list(said["models"])
    entry = {"name": name, "hash": hashed, **said}
    read_entry(entry, "The key")
    click.echo(yaml.safe_dump([entry], sort_keys=False), nl=False)
