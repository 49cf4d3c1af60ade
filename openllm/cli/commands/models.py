"""List the model families, and the models in the local store."""

from __future__ import annotations

from typing import Any

import click

from openllm import models
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.settings import Settings
from openllm.config.sizes import readable_count, readable_size
from openllm.errors import WeightsError
from openllm.models.base import LLMConfig
from openllm.weights.checkpoint import architecture
from openllm.weights.store import StoredModel, list_store

# Of a family, as JSON has them; the backends are all that go together with it.
FAMILY_FIELDS = (
    "name",
    "aliases",
    "default_id",
    "model_ids",
    "architectures",
    "task",
    "lora_targets",
    "backends",
    "license",
    "requirements",
    "tool_format",
    "reasoning_format",
)


@click.command()
@format_option(*FORMATS)
def command(output: str) -> None:
    """List the model families, and the models in the local store.

    A family's name stands for its default model: `openllm start llama`. Other models of the family
    are named by --model-id, or alone: `openllm start meta-llama/Llama-3.2-3B-Instruct`.
    """
    families, stored = models.all_families(), list_store(Settings.from_env().bentoml_home)
    if output == "json":
        print_json(
            {
                "families": [
                    {key: getattr(family, key) for key in FAMILY_FIELDS} | _facts(family)
                    for family in families
                ],
                "stored": [
                    {
                        "tag": item.tag,
                        "family": _family_of(item),
                        "architecture": _architecture(item),
                        "size": item.size,
                        "path": str(item.path),
                    }
                    for item in stored
                ],
            }
        )
        return
    head = ("FAMILY", "DEFAULT MODEL", "SIZE", "CONTEXT", "TASK", "BACKENDS", "ARCHITECTURES")
    cells = [
        (
            family.name,
            family.default_id or "-",
            *_size(family),
            family.task,
            ", ".join(family.all_backends()),
            ", ".join(family.architectures) or "any other",
        )
        for family in families
    ]
    print_table(head, cells)
    click.echo()
    if stored:
        rows = [(item.tag, _family_of(item) or "-", readable_size(item.size)) for item in stored]
        print_table(("STORED MODEL", "FAMILY", "SIZE"), rows)
    else:
        click.echo("The local store holds no models yet: `openllm build` puts them there.")


def _facts(family: type[LLMConfig]) -> dict[str, Any]:
    """What JSON has of it beside the constants as they are."""
    return {
        "backends": family.all_backends(),
        "batched_on": family.batched_on(),
        "sampling": dict(family.sampling),
        "cards": family.cards(),
    }


def _size(family: type[LLMConfig]) -> tuple[str, str]:
    """The parameters and the context of its default model."""
    card = family.models.get(family.default_id or "")
    return (readable_count(card.parameters), str(card.context)) if card else ("-", "-")


def _family_of(item: StoredModel) -> str | None:
    """The family of a stored model; None for what is no model of its own: an adapter, or something
    else's.
    """
    if (known := _architecture(item)) is None:
        return None
    return models.resolve(str(item.metadata.get("hub_id") or item.tag), known).name


def _architecture(item: StoredModel) -> str | None:
    try:
        return architecture(item.path)
    except WeightsError:
        return None
