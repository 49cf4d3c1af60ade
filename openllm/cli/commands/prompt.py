"""Print the prompt that a chat message becomes."""

from __future__ import annotations

from typing import Any

import click

from openllm.cli.given.options import MODEL_FIELDS, given_spec, spec_options
from openllm.cli.given.specs import read_specs
from openllm.config.settings import Settings


@click.command()
@click.argument("model")
@click.argument("text")
@click.option("--system", help="A system message before the text.")
@spec_options(*MODEL_FIELDS)
def command(model: str, text: str, system: str | None, **options: Any) -> None:
    """Print the prompt that TEXT becomes under MODEL's chat template: exactly what the engine will
    read.

    \b
    openllm prompt demo "Hello"
    openllm prompt ./my-model "Hello" --system "Be brief." --chat-template my.jinja
    """
    from openllm.llm.llm import LLM
    from openllm.types import Conversation, Message
    from openllm.weights.origin import named_directory

    settings = Settings.from_env()
    (spec,) = read_specs(model, None, given_spec(options), settings)
    said = (*([Message("system", system)] if system is not None else []), Message("user", text))
    directory = named_directory(spec.model_id)  # it need not hold weights for this
    llm = LLM.from_spec(spec, directory, settings=settings)
    click.echo(llm.renderer.render(Conversation(said)))
