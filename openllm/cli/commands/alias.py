"""Give a stored model a name of your own."""

from __future__ import annotations

import click

from openllm import models
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.given.words import offer_tags
from openllm.cli.output import print_json, print_table
from openllm.config.recipes import recipe_names
from openllm.config.settings import Settings
from openllm.errors import ConfigurationError, UnknownFamily
from openllm.weights.aliases import drop_alias, read_aliases, set_alias
from openllm.weights.store import find_model


@click.command()
@click.argument("name", required=False)
@click.argument("tag", required=False, shell_complete=offer_tags)
@click.option("--remove", is_flag=True, help="Drop the alias NAME; the model stays.")
@format_option(*FORMATS)
def command(name: str | None, tag: str | None, remove: bool, output: str) -> None:
    """Let NAME stand for the stored model TAG, wherever a model is named; without TAG, list.

    A tag never changes its meaning, an alias is what you move: a Bento that is built of an alias
    keeps the tag. The model stays on the disk once, and is kept as long as an alias stands for it.

    \b
    openllm alias my-prod demo:latest
    openllm start my-prod
    openllm alias --remove my-prod
    """
    home = Settings.from_env().bentoml_home
    if remove:
        if name is None or tag is not None:
            raise click.UsageError("--remove takes one NAME.")
        drop_alias(name, home)
        click.echo(f"{name} is no alias any more.")
        return
    if name is not None and tag is not None:
        _refuse_taken(name)
        model = find_model(tag, home)
        before = set_alias(name, model.tag, home)
        said = f" It was {before}." if before not in (None, model.tag) else ""
        click.echo(f"{name} is {model.tag}.{said}")
        return
    _show(name, output)


def _show(name: str | None, output: str) -> None:
    aliases = read_aliases(Settings.from_env().bentoml_home)
    if name is not None and name not in aliases:
        raise ConfigurationError(
            f"There is no alias {name!r}.",
            hint=f"Name what it stands for: openllm alias {name} TAG.",
        )
    shown = {key: tag for key, tag in aliases.items() if name in (None, key)}
    if output == "json":
        print_json(shown)
    elif shown:
        print_table(("ALIAS", "MODEL"), list(shown.items()))
    else:
        click.echo("There are no aliases yet: openllm alias NAME TAG.")


def _refuse_taken(name: str) -> None:
    """Errors: ConfigurationError for the name of a family or recipe, which means something else."""
    try:
        models.get(name)
    except UnknownFamily:
        if name not in recipe_names():
            return
    raise ConfigurationError(
        f"{name!r} is the name of a family or recipe.", hint="Give the alias another name."
    )
