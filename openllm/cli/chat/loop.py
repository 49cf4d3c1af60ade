"""The loop of a chat: read a line, do what it says, show the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import click

from openllm.cli.chat import commands
from openllm.cli.chat.conversation import Talk
from openllm.cli.chat.display import Display
from openllm.cli.words import FLAGS
from openllm.client import ChatDelta
from openllm.errors import OpenLLMError

PROMPT, MORE = ">>> ", "... "
QUOTES = '"""'
HISTORY_LINES = 1000


def chat(talk: Talk, display: Callable[[], Display], read: Callable[[str], str]) -> None:
    """Talk until the end of input. `read` gives a line for a prompt, and raises EOFError.

    What fails is said in a line, and the conversation goes on; Ctrl+C stops an answer, or what is
    being typed.
    """
    while True:
        try:
            text = _entry(read)
        except KeyboardInterrupt:
            click.echo()
            continue
        except EOFError:
            click.echo()
            return
        try:
            if text.strip() and not _do(talk, display, text):
                return
        except KeyboardInterrupt:
            click.echo("(stopped)", err=True)
        except OpenLLMError as error:
            click.echo(f"Error: {error.said(FLAGS)}", err=True)


def answer(deltas: Iterator[ChatDelta], display: Display) -> None:
    """Show one answer as it comes; left early, its request is cancelled."""
    with closing(deltas), display as shown:  # type: ignore[type-var]  # a generator
        for delta in deltas:
            shown.show(delta)


def _do(talk: Talk, display: Callable[[], Display], text: str) -> bool:
    """Do what was typed; False ends the chat."""
    if not text.startswith("/"):
        answer(talk.ask(text), display())
        return True
    try:
        if said := commands.run(talk, text):
            click.echo(said)
    except commands.Leave:
        return False
    except commands.Retry:
        answer(talk.retry(), display())
    return True


def _entry(read: Callable[[str], str]) -> str:
    """What was typed: one line, or several that a backslash or quotes hold together."""
    line = read(PROMPT)
    if line.lstrip().startswith(QUOTES):
        return _quoted(line.lstrip()[len(QUOTES) :], read)
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(read(MORE))
    return "\n".join(lines)


def _quoted(first: str, read: Callable[[str], str]) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES):
        lines.append(read(MORE))
    lines[-1] = lines[-1].rstrip()[: -len(QUOTES)]
    return "\n".join(lines).strip("\n")


def line_reader(history: Path) -> Callable[[str], str]:
    """`input` with line editing, names of commands completed, and a history that is kept."""
    try:
        import readline
    except ImportError:  # a Python built without it
        return input
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        history.touch(mode=0o600)
        readline.read_history_file(history)
    except OSError as error:
        click.echo(f"The history is not kept: {error.strerror}.", err=True)
    readline.set_history_length(HISTORY_LINES)
    readline.set_completer_delims(" \t\n")
    names = [f"/{name}" for name in commands.COMMANDS]
    readline.set_completer(
        lambda text, at: [*(name for name in names if text and name.startswith(text)), None][at]
    )
    readline.parse_and_bind("tab: complete")

    def read(prompt: str) -> str:
        line = input(prompt)
        with suppress(OSError):  # it was said when the chat began
            readline.append_history_file(1, history)
        return line

    return read


def is_terminal() -> bool:
    """Whether somebody types and looks at what is printed."""
    return sys.stdin.isatty() and sys.stdout.isatty()
