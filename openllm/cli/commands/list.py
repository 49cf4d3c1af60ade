"""List the models in the local store."""

from __future__ import annotations

import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.weights.aliases import aliases_by_tag
from openllm.weights.store import list_store, needed_by, own_bytes


@click.command()
@click.option("--size", is_flag=True, help="Tell what removing each would free.")
@format_option(*FORMATS)
def command(size: bool, output: str) -> None:
    """List the models and adapters in the local store, the Bentos that need them and their aliases.

    With --size: OWN is what removing it would free, the rest is linked from elsewhere, such as the
    Hub's cache. `bentoml models list` shows the same store.
    """
    home = Settings.from_env().bentoml_home
    stored, users, names = list_store(home), needed_by(home), aliases_by_tag(home)
    if output == "json":
        print_json(
            [
                {
                    "tag": item.tag,
                    "size": item.size,
                    "own": own_bytes(item),
                    "created": item.created.isoformat() if item.created else None,
                    "hub_id": item.metadata.get("hub_id"),
                    "bentos": users.get(item.tag, []),
                    "aliases": names.get(item.tag, []),
                }
                for item in stored
            ]
        )
        return
    if not stored:
        click.echo("The local store holds no models yet: `openllm pull` puts them there.")
        return
    head = ["MODEL", "SIZE", *(["OWN"] if size else []), "STORED", "BENTOS", "ALIASES"]
    rows = []
    for item in stored:
        own = [readable_size(own_bytes(item))] if size else []
        day = item.created.date().isoformat() if item.created else "-"
        bentos = ", ".join(users.get(item.tag, [])) or "-"
        aliases = ", ".join(names.get(item.tag, [])) or "-"
        rows.append([item.tag, readable_size(item.size), *own, day, bentos, aliases])
    print_table(head, rows)
