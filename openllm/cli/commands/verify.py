"""Check every file of a built Bento, or of a stored model, against its digest."""

from __future__ import annotations

from pathlib import Path

import click

from openllm.cli.given.options import FILE, FORMATS, format_option
from openllm.cli.given.specs import is_bento
from openllm.cli.given.words import offer_models
from openllm.cli.output import print_json
from openllm.config.settings import Settings
from openllm.errors import BuildError
from openllm.weights.store import damaged_files, damaged_model, find_model, is_stored


@click.command()
@click.argument("tag", metavar="TAG|PATH", shell_complete=offer_models)
@click.option(
    "--key",
    type=FILE,
    help="A public key (PEM), whose owner must have signed the Bento.",
)
@format_option(*FORMATS)
def command(tag: str, key: Path | None, output: str) -> None:
    """Check every path of a built Bento, its models included, or of a stored model, against what
    was written when it was built or stored. PATH is the directory of a Bento, as in an image.

    What was changed, removed or added is named, and the exit code is 1. Nothing of it is run.

    \b
    openllm verify demo:latest
    openllm verify demo:latest --key sign.pub
    openllm verify /home/bentoml/bento
    """
    home = Settings.from_env().bentoml_home
    if is_stored(tag, home) and not is_bento(tag, home):
        if key is not None:
            raise click.UsageError("--key is for Bentos; a stored model has no signature.")
        _verify_model(tag, home, output)
        return
    from openllm.bento.inspect import verify_bento

    found = verify_bento(tag, key)
    if output == "json":
        print_json(
            {
                "tag": found.tag,
                "checked": found.checked,
                "problems": found.problems,
                "signed_by": str(key) if key else None,
            }
        )
    else:
        for problem in found.problems:
            click.echo(problem)
    if found.problems:
        many = (
            f"{len(found.problems)} of its files are"
            if len(found.problems) > 1
            else "One of its files is"
        )
        raise BuildError(
            f"{found.tag} is not as it was built: {many} different.", hint="Build it again."
        )
    if output == "table":
        signed = f", signed by {key.name}" if key else ""
        click.echo(f"{found.tag} is as it was built{signed}: {found.checked} paths checked.")


def _verify_model(tag: str, home: Path, output: str) -> None:
    model = find_model(tag, home)
    damaged = damaged_files(model, home)
    if output == "json":
        print_json({"tag": model.tag, "problems": damaged})
    if damaged:
        raise damaged_model(model, damaged)
    if output == "table":
        click.echo(f"{model.tag} is as it was stored.")
