"""Serve a model over HTTP."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import click

import openllm
from openllm.cli.given.options import (
    SectionedCommand,
    given_settings,
    given_spec,
    settings_options,
    spec_options,
)
from openllm.cli.given.specs import model_argument, print_specs, read_specs
from openllm.cli.output import log_level, warn
from openllm.config.servers import address
from openllm.config.spec import LLMSpec
from openllm.errors import OpenLLMError
from openllm.weights.origin import named_directory


@click.command(cls=SectionedCommand)
@model_argument
@spec_options()
@settings_options
@click.option(
    "--print-spec", is_flag=True, help="Print what the options come to as JSON, and exit."
)
@click.option(
    "--open", "in_browser", is_flag=True, help="Open the chat page in a browser once it answers."
)
@click.option(
    "--reload",
    is_flag=True,
    help="Start again when the recipe, the model's files or openllm's code change.",
)
@click.option("--with-parent", is_flag=True, hidden=True, help="End when standard input does.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str | None,
    recipe: Path | None,
    print_spec: bool,
    in_browser: bool,
    reload: bool,
    with_parent: bool,
    **options: Any,
) -> None:
    """Serve a model over HTTP: OpenAI's API, health, metrics and a chat page on one port.

    MODEL is the name of a family (`openllm models`) or recipe (`openllm recipes`), a directory, a
    Hub id, the tag of a stored model or of a built Bento. Without it, the demo model that comes
    along is served.

    \b
    openllm start
    openllm start ./my-model --max-model-len 8192
    openllm start llama --model-id meta-llama/Llama-3.2-3B-Instruct --backend vllm
    openllm start demo --adapter-id ./adapters/pirate:pirate --port 8080
    openllm start -f recipe.yaml
    openllm start --open

    An option beats its OPENLLM_* variable, a variable the recipe or Bento, and those what the
    family says.
    """
    settings = given_settings(options)
    settings = attrs.evolve(settings, log_level=log_level(settings.log_level))
    specs = read_specs(model, recipe, given_spec(options), settings)
    if print_spec:
        print_specs(specs)
        return
    if in_browser and not settings.ui:
        raise click.UsageError("--open needs the page, which --no-ui leaves out.", ctx)
    if reload:
        if in_browser and settings.port:  # once; what has no port yet opens its page itself
            _open_when_ready(address(settings.host, settings.port))
        ctx.exit(_reload(specs, recipe, with_open=not settings.port))
    if with_parent:
        _end_with_parent()
    from openllm.bento.serve import serve

    if in_browser:
        serve(specs, settings, _open_when_ready)
    else:
        serve(specs, settings)


def _reload(specs: Sequence[LLMSpec], recipe: Path | None, *, with_open: bool) -> int:
    """Run this command line without --reload, and without --open unless `with_open`, in a child,
    again and again; the exit code.
    """
    from openllm.cli.reload import run_reloading

    models = [path for spec in specs if (path := named_directory(spec.model_id)) is not None]
    watched = [Path(openllm.__file__).parent, *([recipe] if recipe else []), *models]
    dropped = {"--reload"} if with_open else {"--reload", "--open"}
    arguments = [part for part in sys.argv[1:] if part not in dropped]
    return run_reloading([sys.executable, "-m", "openllm", *arguments], watched)


def _open_when_ready(url: str) -> None:
    """Show the page at `url` in a browser once the server is ready; returns at once."""
    import webbrowser

    from openllm.client import Client

    def wait() -> None:
        with Client(url) as client:
            try:
                client.wait_until_ready(math.inf)
            except OpenLLMError:  # it ends, and says why itself
                return
        if not webbrowser.open(url):
            warn(f"There is no browser here. Open {url} where there is one.")

    threading.Thread(target=wait, daemon=True).start()


def _end_with_parent() -> None:
    """Stop as by SIGTERM once whoever holds the other end of standard input is gone."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
