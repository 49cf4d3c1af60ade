"""Show what a server of this machine has logged."""

from __future__ import annotations

import time

import click

from openllm.cli.given.servers import named_server
from openllm.cli.given.words import offer_servers
from openllm.errors import ServeError

POLL_SECONDS = 0.2


@click.command()
@click.argument("server", required=False, shell_complete=offer_servers)
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last so many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the server ends.")
def command(server: str | None, lines: int | None, follow: bool) -> None:
    """Show what SERVER (process, port, URL or model) has logged; without SERVER the only one's.

    It is what the server's main process writes; `openllm ps` lists the servers.
    """
    found = named_server(server)
    try:
        with found.log.open(encoding="utf-8", errors="replace") as log:
            said = log.readlines()
            for line in said if lines is None else said[len(said) - min(lines, len(said)) :]:
                click.echo(line, nl=False)
            while follow and found.is_running():
                click.echo(log.read(), nl=False)
                time.sleep(POLL_SECONDS)
            click.echo(log.read() if follow else "", nl=False)
    except OSError as error:
        raise ServeError(f"The log of {found.url} cannot be read: {error.strerror}.") from None
