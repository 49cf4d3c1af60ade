"""Stop a server of this machine."""

from __future__ import annotations

import os
import signal
import time

import click

from openllm.cli.given.servers import named_server
from openllm.cli.given.words import offer_servers
from openllm.errors import ServeError

POLL_SECONDS = 0.05


@click.command()
@click.argument("server", required=False, shell_complete=offer_servers)
@click.option("--now", is_flag=True, help="Cut off the answers that are being written.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds."
)
def command(server: str | None, now: bool, wait: float) -> None:
    """Stop SERVER, named by its process, port, URL or model, and wait until it is gone.

    Running answers may finish first (--drain-seconds of `openllm start`). Without SERVER the only
    one that runs is stopped.
    """
    found = named_server(server)
    try:
        for _ in range(2 if now else 1):  # the second signal ends what the first lets finish
            os.kill(found.pid, signal.SIGTERM)
            time.sleep(POLL_SECONDS)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise ServeError(
            f"The server at {found.url} is another user's.", hint="Ask them to stop it."
        ) from None
    deadline = time.monotonic() + wait
    while found.is_running():
        if time.monotonic() > deadline:
            raise ServeError(
                f"The server at {found.url} still runs after {wait:g} s.",
                hint="Wait longer, or add --now.",
            )
        time.sleep(POLL_SECONDS)
    click.echo(f"Stopped {found.url}.")
