"""Fetch a model into the local store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from openllm.cli.given.options import (
    MODEL_FIELDS,
    format_option,
    given_settings,
    given_spec,
    spec_options,
)
from openllm.cli.given.words import offer_models
from openllm.cli.output import log_level, print_json
from openllm.config.spec import LLMSpec
from openllm.weights.archive import is_archive

STDIN = "-"


@click.command()
@click.argument("model", required=False, shell_complete=offer_models)
@click.option("--name", "stored_name", help="The name in the store; by default the model's own.")
@spec_options(*(field for field in MODEL_FIELDS if field != "chat_template"))
@format_option("table", "tag", "json")
def command(model: str | None, stored_name: str | None, output: str, **options: Any) -> None:
    """Fetch MODEL into the local store, and print the tag that names exactly this content.

    MODEL is the name of a family, a Hub id (owner/name, owner/name@revision, hf://owner/name), a
    directory, or an archive that openllm export wrote (- is standard input). Files are linked where
    the disk allows, else copied once. What is stored starts without the network: openllm start TAG.

    \b
    openllm pull qwen
    openllm pull meta-llama/Llama-3.2-1B-Instruct@main
    openllm pull ./my-model --name mine -o tag
    openllm import model.tar
    """
    from openllm.bento.pack.sources import import_archive, pull_model
    from openllm.bento.serving.logs import configure_logging
    from openllm.cli.given.specs import read_specs
    from openllm.config.sizes import readable_size

    settings = given_settings(options)
    configure_logging(log_level(settings.log_level))
    if model is not None and (model == STDIN or is_archive(Path(model))):
        # its name where the archive says none: that of the file
        spec = LLMSpec(model_id=_stem(model), trust_remote_code=bool(options["trust_remote_code"]))
        with click.open_file(model, "rb") as file:
            stored = import_archive(file, stored_name, spec, settings)
    else:
        (spec,) = read_specs(model, None, given_spec(options), settings)
        stored = pull_model(spec, stored_name, settings)
    if output == "json":
        taken = {"shared": stored.placement.shared, "copied": stored.placement.copied}
        print_json({"tag": stored.tag, "path": str(stored.path), "new": stored.new, **taken})
    elif output == "tag":
        click.echo(stored.tag)
    elif stored.new:
        shared, copied = (
            readable_size(size) for size in (stored.placement.shared, stored.placement.copied)
        )
        click.echo(f"{stored.tag}: {shared} linked, {copied} copied.")
    else:
        click.echo(f"{stored.tag} was there already.")


def _stem(file: str) -> str:
    """The name of an archive without its endings."""
    return "model" if file == STDIN else Path(file).name.partition(".")[0] or "model"
