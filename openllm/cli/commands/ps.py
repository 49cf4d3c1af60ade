"""List the servers that run on this machine."""

from __future__ import annotations

import time

import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.servers import running_servers
from openllm.config.settings import Settings


@click.command()
@format_option(*FORMATS)
def command(output: str) -> None:
    """List the servers of this user that `openllm start` and `openllm run` started here."""
    found = running_servers(Settings.from_env().bentoml_home)
    if output == "json":
        fields = ("pid", "url", "models", "started")
        print_json([{name: getattr(server, name) for name in fields} for server in found])
    elif found:
        rows = [
            (str(server.pid), server.url, ", ".join(server.models), _since(server.started))
            for server in found
        ]
        print_table(("PID", "URL", "MODELS", "UP"), rows)
    else:
        click.echo("No server runs here. Start one: openllm start.")


def _since(started: float) -> str:
    minutes, seconds = divmod(max(0, int(time.time() - started)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
