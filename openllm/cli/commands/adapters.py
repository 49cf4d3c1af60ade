"""List, add and remove LoRA adapters of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from openllm.cli import DebugGroup
from openllm.cli.given.options import FORMATS, admin_options, format_option, given_settings
from openllm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from openllm.cli.client import Client

PATH = "/v1/adapters"


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
    mounted = _client(options).call("GET", PATH)["data"]
    if output == "json":
        print_json(mounted)
    elif mounted:
        print_table(("ADAPTER", "MODEL"), [(item["id"], item["parent"]) for item in mounted])
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
    body = {"name": name, "source": source, **({"model": model} if model else {})}
    mounted = _client(options).call("POST", PATH, body)
    click.echo(f"Mounted {mounted['id']} on {mounted['parent']}.")


@command.command("remove")
@click.argument("name")
@admin_options
def remove_adapter(name: str, **options: Any) -> None:
    """Remove the adapter NAME."""
    _client(options).call("DELETE", f"{PATH}/{quote(name, safe='')}")
    click.echo(f"Removed {name}.")


def _client(options: dict[str, Any]) -> Client:
    from openllm.cli.client import Client

    settings = given_settings(options)
    return Client(settings.endpoint, settings.admin_key)
