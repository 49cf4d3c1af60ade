"""Ask a running server a question."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from openllm.cli.given.options import FILE, endpoint_options, format_option
from openllm.cli.output import print_json


@click.command()
@click.argument("question", required=False)
@click.option("--model", help="The model or adapter to ask; by default the server's first.")
@click.option("--system", help="A system message before the question.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option(
    "--temperature", type=float, help="0 for the likeliest answer, up to 2 for wilder ones."
)
@click.option(
    "--image", "images", type=FILE, multiple=True, help="An image to ask about; may be repeated."
)
@click.option(
    "--json-schema", type=FILE, help="A file with the JSON schema that the answer must follow."
)
@click.option(
    "--stream/--no-stream",
    default=True,
    show_default=True,
    help="Print the answer while it is written.",
)
@format_option("text", "json")
@endpoint_options
def command(
    question: str | None,
    model: str | None,
    system: str | None,
    images: tuple[Path, ...],
    json_schema: Path | None,
    stream: bool,
    output: str,
    **options: Any,
) -> None:
    """Ask a running server a question, and print the answer.

    What comes on standard input is put below QUESTION; without one, or where it is -, it is the
    question. With -o json the server's whole answer is printed.

    \b
    openllm ask "How do I build a Bento?"
    openllm ask "Who are you?" --model pirate --endpoint http://gpu-box:3000
    git diff | openllm ask "Write a commit message for this."
    openllm ask "Name a colour." --json-schema colour.json
    """
    from openllm.cli.client import connect
    from openllm.cli.given.messages import image_url, read_schema, user_content

    content = user_content(_question(question), [image_url(path) for path in images])
    fields = {
        key: options[key] for key in ("max_tokens", "temperature") if options[key] is not None
    }
    if json_schema is not None:
        fields["response_format"] = read_schema(json_schema)
    messages = [{"role": "user", "content": content}]
    with connect(options) as client:
        if output == "json":
            print_json(client.chat(messages, model=model, system=system, **fields).raw)
        elif not stream:
            click.echo(client.chat(messages, model=model, system=system, **fields).text)
        else:
            deltas = client.chat_stream(messages, model=model, system=system, **fields)
            _print(delta.text for delta in deltas)


def _print(texts: Iterator[str]) -> None:
    """Print the pieces as they come; a line that an error cuts off is ended."""
    begun = False
    try:
        for text in texts:
            click.echo(text, nl=False)
            begun = begun or bool(text)
    except BaseException:
        if begun:
            click.echo()
        raise
    click.echo()


def _question(argument: str | None) -> str:
    """The argument, standard input, or one below the other. Errors: click.UsageError."""
    wanted = argument is None or argument == "-"
    piped = "" if not wanted and not _is_piped() else sys.stdin.read().strip()
    if wanted and not piped:
        raise click.UsageError("Missing argument 'QUESTION'.", click.get_current_context())
    if wanted:
        return piped
    return f"{argument}\n\n{piped}" if piped else str(argument)


def _is_piped() -> bool:
    """Whether somebody has redirected standard input to us; a terminal, or nothing, has not."""
    import stat

    try:
        mode = Path(f"/dev/fd/{sys.stdin.fileno()}").stat().st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
