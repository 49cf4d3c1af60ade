"""Ask a running server a question."""

from __future__ import annotations

from typing import Any

import click

from openllm.cli.given.options import endpoint_options, given_settings
from openllm.errors import OpenLLMError


@click.command()
@click.argument("question")
@click.option("--model", help="The model or adapter to ask; by default the server's first.")
@click.option("--system", help="A system message before the question.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option(
    "--temperature", type=float, help="0 for the likeliest answer, up to 2 for wilder ones."
)
@click.option(
    "--stream/--no-stream",
    default=True,
    show_default=True,
    help="Print the answer while it is written.",
)
@endpoint_options
def command(
    question: str, model: str | None, system: str | None, stream: bool, **options: Any
) -> None:
    """Ask a running server a question, and print the answer.

    \b
    openllm ask "How do I build a Bento?"
    openllm ask "Who are you?" --model pirate --endpoint http://gpu-box:3000
    """
    from openllm.cli.client import Client

    settings = given_settings(options)
    client = Client(settings.endpoint, settings.api_key)
    if not model:
        known = client.call("GET", "/v1/models")["data"]
        if not known:
            raise OpenLLMError("The server has no models.")
        model = known[0]["id"]
    body = {
        "model": model,
        "messages": [
            *([{"role": "system", "content": system}] if system else []),
            {"role": "user", "content": question},
        ],
        "stream": stream,
        **{key: options[key] for key in ("max_tokens", "temperature") if options[key] is not None},
    }
    path = "/v1/chat/completions"
    if not stream:
        click.echo(client.call("POST", path, body)["choices"][0]["message"]["content"])
        return
    for event in client.stream(path, body):
        for choice in event["choices"]:
            click.echo(choice["delta"].get("content") or "", nl=False)
    click.echo()
