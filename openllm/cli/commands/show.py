"""Show what is known of a model family, or of a stored model."""

from __future__ import annotations

from typing import Any

import click

from openllm import models
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.given.words import offer_models
from openllm.cli.output import GAP, print_json
from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.errors import WeightsError
from openllm.weights.aliases import aliases_of, tag_of
from openllm.weights.checkpoint import architecture, model_files
from openllm.weights.store import StoredModel, find_model, list_store, needed_by, own_bytes


@click.command()
@click.argument("model", shell_complete=offer_models)
@format_option(*FORMATS)
def command(model: str, output: str) -> None:
    """Show what is known of MODEL: a family's name, or the tag or alias of a stored model.

    \b
    openllm show qwen
    openllm show demo:latest
    """
    home = Settings.from_env().bentoml_home
    if is_tag(model) or tag_of(model, home) is not None:
        stored = find_model(model, home)
        found = _stored(stored, needed_by(home).get(stored.tag, []), aliases_of(stored.tag, home))
    else:
        found = _family(model, list_store(home))
    if output == "json":
        print_json(found)
        return
    width = max(map(len, found)) + GAP
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):{width}}{_said(value)}")


def _stored(model: StoredModel, bentos: list[str], aliases: list[str]) -> dict[str, Any]:
    try:
        kind = architecture(model.path)
    except WeightsError:
        kind = None
    return {
        "tag": model.tag,
        "path": str(model.path),
        "hub_id": model.metadata.get("hub_id"),
        "commit": model.metadata.get("commit"),
        "digest": model.metadata.get("digest"),
        "architecture": kind,
        "size": readable_size(model.size),
        "own": readable_size(own_bytes(model)),
        "bentos": bentos,
        "aliases": aliases,
        "files": [inner.as_posix() for inner in model_files(model.path)],
    }


def _family(name: str, stored: list[StoredModel]) -> dict[str, Any]:
    family = models.get(name)
    ids = {family.default_id, *family.model_ids}
    return {
        "family": family.name,
        "default_model": family.default_id,
        "models": list(family.model_ids),
        "task": family.task,
        "backends": list(family.all_backends()),
        "architectures": list(family.architectures),
        "license": family.license,
        "stored": [item.tag for item in stored if item.metadata.get("hub_id") in ids],
        "start": f"openllm start {family.name}",
    }


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
