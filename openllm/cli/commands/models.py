"""List the model families, and the models in the local store."""

from __future__ import annotations

from typing import Any

import click

from openllm import models
from openllm.cli.output import FORMATS, format_option, print_json, print_table, readable_size
from openllm.errors import WeightsError
from openllm.models.base import LLMConfig
from openllm.weights.checkpoint import architecture
from openllm.weights.store import StoredModel, list_store


@click.command()
@format_option(*FORMATS)
def command(output: str) -> None:
    """List the model families, and the models in the local store.

    A family's name stands for its default model: `openllm start llama`. Other models of the family
    are named by
    --model-id, or alone: `openllm start meta-llama/Llama-3.2-3B-Instruct`.
    """
    families, stored = models.all_families(), list_store()
    if output == "json":
        print_json(
            {
                "families": [_family(family) for family in families],
                "stored": [_stored(item) for item in stored],
            }
        )
        return
    head = ("FAMILY", "DEFAULT MODEL", "TASK", "BACKENDS", "ARCHITECTURES")
    print_table(head, [_row(family) for family in families])
    click.echo()
    if stored:
        rows = [(item.tag, _family_of(item) or "-", readable_size(item.size)) for item in stored]
        print_table(("STORED MODEL", "FAMILY", "SIZE"), rows)
    else:
        click.echo("The local store holds no models yet: `openllm build` puts them there.")


def _row(family: type[LLMConfig]) -> tuple[str, ...]:
    architectures = ", ".join(family.architectures) or "any other"
    return (
        family.name,
        family.default_id or "-",
        family.task,
        ", ".join(family.backends),
        architectures,
    )


def _family(family: type[LLMConfig]) -> dict[str, Any]:
    return {
        "name": family.name,
        "aliases": family.aliases,
        "default_id": family.default_id,
        "model_ids": family.model_ids,
        "architectures": family.architectures,
        "task": family.task,
        "backends": family.backends,
        "license": family.license,
        "requirements": family.requirements,
        "tool_format": family.tool_format,
        "reasoning_format": family.reasoning_format,
    }


def _stored(item: StoredModel) -> dict[str, Any]:
    family, known = _family_of(item), _architecture(item)
    return {
        "tag": item.tag,
        "family": family,
        "architecture": known,
        "size": item.size,
        "path": str(item.path),
    }


def _family_of(item: StoredModel) -> str | None:
    """The family of a stored model; None for what is no model of its own: an adapter, or something
    else's.
    """
    known = _architecture(item)
    return (
        models.resolve(str(item.metadata.get("hub_id") or item.tag), known).name if known else None
    )


def _architecture(item: StoredModel) -> str | None:
    try:
        return architecture(item.path)
    except WeightsError:
        return None
