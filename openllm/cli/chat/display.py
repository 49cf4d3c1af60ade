"""How an answer is shown while it comes: as plain text, or Markdown block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, Self

import click

from openllm.client import ChatDelta

if TYPE_CHECKING:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.text import Text

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Display(Protocol):
    """Shows one answer: `show` each delta within a `with` block, whose end completes it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, delta: ChatDelta) -> None: ...


def printable(text: str) -> str:
    """`text` without what a terminal would act on instead of showing it."""
    return _CONTROL.sub("", text)


class PlainDisplay:
    """The text as it comes, thoughts left out."""

    def __init__(self, *, clean: bool) -> None:
        self._clean = clean  # for a terminal; a pipe gets what the model wrote

    def __enter__(self) -> Self:
        return self

    def show(self, delta: ChatDelta) -> None:
        click.echo(printable(delta.text) if self._clean else delta.text, nl=False)

    def __exit__(self, *_: object) -> None:
        click.echo()


class MarkdownDisplay:
    """Markdown for a terminal: what is complete is printed once, and only the block that is still
    being written is drawn again, ten times a second.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._open = ""  # the block that is being written
        self._thought = ""
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=10,
            get_renderable=self._unfinished,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def show(self, delta: ChatDelta) -> None:
        self._thought += printable(delta.reasoning)
        text = printable(delta.text)
        if text and self._thought:
            self._end_thought()
        self._open += text
        if "\n" in text:
            whole, self._open = complete(self._open)
            if whole.strip():
                self._console.print(self._markdown(whole))

    def __exit__(self, *_: object) -> None:
        rest, self._open = self._open, ""
        self._end_thought()
        self._live.stop()
        if rest.strip():
            self._console.print(self._markdown(rest))

    def _unfinished(self) -> Markdown | Text:
        from rich.text import Text

        if self._open:
            return self._markdown(self._open)
        return Text(self._thought[-400:], style="dim italic")

    def _end_thought(self) -> None:
        from rich.text import Text

        if self._thought.strip():
            self._console.print(Text(self._thought.strip(), style="dim italic"))
            self._console.print()
        self._thought = ""

    def _markdown(self, text: str) -> Markdown:
        from rich.markdown import Markdown

        return Markdown(text, code_theme="ansi_dark")


def complete(text: str) -> tuple[str, str]:
    """The blocks at the beginning of a Markdown text that nothing to come can change, and the rest:
    cut behind the last blank line that is in no block of code.
    """
    fence, cut, at = "", 0, 0
    for line in text.splitlines(keepends=True):
        at += len(line)
        if not line.endswith("\n"):
            break
        marks = _FENCE.match(line)
        if fence:
            if marks and marks[1].startswith(fence) and not line[marks.end() :].strip():
                fence = ""
        elif marks:
            fence = marks[1]
        elif not line.strip():
            cut = at
    return text[:cut], text[cut:]
