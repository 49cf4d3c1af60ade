"""List, add and remove LoRA adapters of a running server."""

from __future__ import annotations

from typing import Any

import click

from openllm.cli import DebugGroup
from openllm.cli.given.options import FORMATS, admin_options, format_option
from openllm.cli.output import print_json, print_table


@click.group(cls=DebugGroup)
def command() -> None:
    """List, add and remove LoRA adapters of a running server.

    The server must have an admin key (OPENLLM_ADMIN_KEY); each command sends it.
    """


@command.command("list")
@format_option(*FORMATS)
@admin_options
def list_adapters(output: str, **options: Any) -> None:
    """List the adapters that are mounted."""
    from openllm.cli.client import connect

    with connect(options) as client:
        mounted = client.adapters()
    if output == "json":
        print_json([item.raw for item in mounted])
    elif mounted:
        print_table(("ADAPTER", "MODEL"), [(item.id, item.parent or "-") for item in mounted])
    else:
        click.echo("No adapters are mounted.")


@command.command("add")
@click.argument("name")
@click.argument("source")
@click.option("--model", help="The base model, where the server has several.")
@admin_options
def add_adapter(name: str, source: str, model: str | None, **options: Any) -> None:
    """Mount the adapter SOURCE; requests then use it as the model NAME.

    SOURCE is a tag of the server's model store, or a directory below the server's --adapter-root.
    """
    from openllm.cli.client import connect

    with connect(options) as client:
        mounted = client.add_adapter(name, source, model=model)
    click.echo(f"Mounted {mounted.id} on {mounted.parent}.")


@command.command("remove")
@click.argument("name")
@admin_options
def remove_adapter(name: str, **options: Any) -> None:
    """Remove the adapter NAME."""
    from openllm.cli.client import connect

    with connect(options) as client:
        client.remove_adapter(name)
    click.echo(f"Removed {name}.")
