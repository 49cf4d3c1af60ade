"""Remove models from the local store."""

from __future__ import annotations

import click

from openllm.cli.given.words import offer_tags
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.errors import Conflict
from openllm.weights.aliases import aliases_of
from openllm.weights.store import find_model, needed_by, own_bytes, remove_model


@click.command()
@click.argument("tags", nargs=-1, required=True, metavar="TAG...", shell_complete=offer_tags)
@click.option(
    "--force",
    is_flag=True,
    help="Also what Bentos need, which then cannot be served, and what aliases stand for.",
)
def command(tags: tuple[str, ...], force: bool) -> None:
    """Remove models from the local store.

    \b
    openllm rm demo:1f2f69b16e051e37d28b
    """
    home = Settings.from_env().bentoml_home
    found = {model.tag: model for model in (find_model(tag, home) for tag in tags)}
    users = needed_by(home)
    for tag in found:  # all of them before anything is removed
        if not force and tag in users:
            raise Conflict(
                f"{tag} is needed by {', '.join(users[tag])}.",
                hint="Remove those first (bentoml delete), or add --force.",
            )
        if not force and (names := aliases_of(tag, home)):
            raise Conflict(
                f"The alias {names[0]} stands for {tag}.",
                hint=f"Drop it (openllm alias --remove {names[0]}), or add --force.",
            )
    for tag, model in found.items():
        freed = own_bytes(model)
        remove_model(model, home)
        click.echo(f"Removed {tag}: {readable_size(freed)} freed.")
