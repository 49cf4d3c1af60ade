"""Show what is known of a model family, or of a stored model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from openllm import models
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.given.words import offer_models
from openllm.cli.output import GAP, print_json, print_table
from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.config.sizes import readable_count, readable_size
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
    known = found.pop("cards", {})
    width = max(map(len, found)) + GAP
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):{width}}{_said(value)}")
    if known:
        click.echo()
        print_table(("MODEL", "PARAMETERS", "CONTEXT", "LICENSE"), _rows(known))


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
        "batched_on": list(family.batched_on()),
        "architectures": list(family.architectures),
        "license": family.license,
        "sampling": dict(family.sampling),
        "tool_format": family.tool_format,
        "reasoning_format": family.reasoning_format,
        "lora_targets": list(family.lora_targets),
        "stored": [item.tag for item in stored if item.metadata.get("hub_id") in ids],
        "start": f"openllm start {family.name}",
        "cards": family.cards(),
    }


def _rows(known: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Of each model its parameters, those that a token passes where not all do, and so on."""
    return [
        (
            model_id,
            readable_count(card["parameters"])
            + (f", {readable_count(card['active'])} active" if card["active"] else ""),
            str(card["context"]),
            card["license"],
        )
        for model_id, card in known.items()
    ]


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
