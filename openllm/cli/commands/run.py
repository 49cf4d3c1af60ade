"""Chat with a model in the terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.given.options import (
    SectionedCommand,
    endpoint_options,
    given_settings,
    given_spec,
    spec_options,
)
from openllm.cli.given.specs import model_argument, read_specs
from openllm.config.settings import Settings
from openllm.errors import ConfigurationError

if TYPE_CHECKING:
    from openllm.cli.chat.display import Display
    from openllm.client import Client

# What is a server's address even without http://: this machine's names, with or without a port.
LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/.*)?")
HISTORY = "openllm-servers/history"


@click.command(cls=SectionedCommand)
@model_argument
@click.option("--system", help="A system message before the conversation.")
@click.option("--plain", is_flag=True, help="Print answers as they are, not as Markdown.")
@spec_options()
@endpoint_options
def command(
    model: str | None, recipe: Path | None, system: str | None, plain: bool, **options: Any
) -> None:
    """Chat with a model in the terminal.

    MODEL is what `openllm start` takes, which is then started for this chat alone; or the URL of a
    running server. With --endpoint, MODEL is the name of one of the models there. /help in the chat
    lists what can be typed beside questions. In a pipe, standard input is one question, and the
    plain answer is printed.

    \b
    openllm run
    openllm run llama --backend vllm
    openllm run http://gpu-box:3000
    openllm run demo < question.txt
    """
    from openllm.cli.chat.conversation import Talk
    from openllm.cli.chat.loop import answer, chat, is_terminal, line_reader

    settings = given_settings(options)
    talking = sys.stdin.isatty()
    question = None if talking else sys.stdin.read().strip()
    if question == "":
        raise ConfigurationError("There is no question on standard input.", hint="Pipe one in.")
    remote = bool(options.get("endpoint"))
    with _client(model, recipe, settings, given_spec(options), remote) as client:
        name = model if remote and model else client.models()[0].id
        talk = Talk(client, name, system)
        if question is not None:
            answer(talk.ask(question), _display(plain, is_terminal()))
            return
        click.echo(f"Chatting with {name}. /help lists what can be typed, Ctrl+D ends it.")
        reader = line_reader(settings.bentoml_home / HISTORY)
        chat(talk, lambda: _display(plain, is_terminal()), reader)


@contextmanager
def _client(
    model: str | None,
    recipe: Path | None,
    settings: Settings,
    explicit: dict[str, Any],
    remote: bool,
) -> Iterator[Client]:
    """A client of the server that is meant, started where it is none that runs."""
    from openllm.cli.chat.server import Progress, own_server
    from openllm.client import Client

    url = model if model and ("://" in model or LOCAL.fullmatch(model)) else None
    if remote or url:
        with Client(url or settings.endpoint, key=settings.api_key) as client:
            yield client
        return
    specs = read_specs(model, recipe, explicit, settings)
    with own_server(specs, settings, Progress(specs[0].served_name)) as client, client:
        yield client


def _display(plain: bool, terminal: bool) -> Display:
    from openllm.cli.chat.display import MarkdownDisplay, PlainDisplay

    if plain or not terminal:
        return PlainDisplay(clean=sys.stdout.isatty())
    from rich.console import Console

    return MarkdownDisplay(Console(highlight=False))
