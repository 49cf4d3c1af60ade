"""Write a stored model into one file, which `openllm import` reads on another machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from openllm.cli.given.words import offer_tags
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.errors import Conflict, WeightsError
from openllm.weights.archive import write_archive
from openllm.weights.store import StoredModel, find_model

STDOUT = "-"


@click.command()
@click.argument("tag", shell_complete=offer_tags)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def command(tag: str, file: str, force: bool) -> None:
    """Write the stored model TAG into FILE, a tar archive; - is standard output.

    It is checked against its digests first, and is compressed where FILE ends in .gz or .tgz.
    `openllm import FILE` gives the same tag again; `bentoml models import` reads it, too.

    \b
    openllm export demo:latest demo.tar
    openllm export my-prod - | ssh host openllm import -
    """
    home = Settings.from_env().bentoml_home
    model = find_model(tag, home)
    if file == STDOUT:
        write_archive(model, home, sys.stdout.buffer, file)
        return
    path = Path(file)
    if path.exists() and not force:
        raise Conflict(f"{file} is there already.", hint="Add --force to replace it.")
    try:
        _write(model, home, path)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be written: {error.strerror}.", hint="Name another FILE."
        ) from None
    click.echo(f"{model.tag}: {readable_size(path.stat().st_size)} written to {file}.")


def _write(model: StoredModel, home: Path, path: Path) -> None:
    """FILE is there whole, or not at all. Errors: WeightsError, OSError."""
    free = shutil.disk_usage(path.absolute().parent).free
    if model.size > free:
        raise WeightsError(
            f"{model.tag} needs {readable_size(model.size)}, and the disk of {path} has"
            f" {readable_size(free)} left.",
            hint="Name a FILE on a larger disk.",
        )
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with half.open("wb") as target:
            write_archive(model, home, target, path.name)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
