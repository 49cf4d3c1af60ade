"""Show what is known of a model family, or of a stored model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from openllm import models
from openllm.cli.commands.models import card_cells
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.given.verdicts import HEAD, verdict_cell, verdict_fields
from openllm.cli.given.words import offer_models
from openllm.cli.output import GAP, print_json, print_table
from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.errors import WeightsError
from openllm.models.base import LLMConfig
from openllm.weights.aliases import aliases_of, tag_of
from openllm.weights.checkpoint import architecture, model_files
from openllm.weights.store import StoredModel, find_model, list_store, needed_by, own_bytes

if TYPE_CHECKING:
    from openllm.llm.catalogue import Verdict


@click.command()
@click.argument("model", shell_complete=offer_models)
@format_option(*FORMATS)
def command(model: str, output: str) -> None:
    """Show what is known of MODEL: a family's name, or the tag or alias of a stored model.

    \b
    openllm show qwen
    openllm show demo:latest

    Of each model it says whether it fits this machine, as it is or quantised, by what is known of
    its shape: nothing is downloaded.
    """
    settings = Settings.from_env()
    home = settings.bentoml_home
    if is_tag(model) or tag_of(model, home) is not None:
        stored = find_model(model, home)
        found = _stored(stored, needed_by(home).get(stored.tag, []), aliases_of(stored.tag, home))
        fits = _verdict(stored, settings)
        found |= verdict_fields(fits) if output == "json" else {"fits": verdict_cell(fits)}
        verdicts = {}
    else:
        from openllm.llm.catalogue import judge

        family = models.get(model)
        found = _family(family, list_store(home))
        verdicts = {each: judge(family, each, settings) for each in family.model_ids}
    if output == "json":
        cards = found.get("cards", {})
        for model_id, verdict in verdicts.items():
            cards[model_id] = cards.get(model_id, {}) | verdict_fields(verdict)
        print_json(found)
        return
    found.pop("cards", None)
    width = max(map(len, found)) + GAP
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):{width}}{_said(value)}")
    if verdicts:
        click.echo()
        rows = [
            (model_id, *card_cells(family, model_id), verdict_cell(verdict))
            for model_id, verdict in verdicts.items()
        ]
        print_table(("MODEL", "PARAMETERS", "CONTEXT", "LICENSE", HEAD), rows)


def _verdict(stored: StoredModel, settings: Settings) -> Verdict:
    """Whether a stored model fits, by the headers of its weights."""
    from openllm.config.spec import LLMSpec
    from openllm.llm.catalogue import UNKNOWN, judge_outline
    from openllm.weights.outline import outline_of

    try:
        found = outline_of(stored.path)
    except WeightsError:
        return UNKNOWN  # an adapter, or no model at all
    name = str(stored.metadata.get("hub_id") or stored.tag)
    family = models.resolve(name, architecture(stored.path))
    spec = LLMSpec(model_id=stored.tag, family=family.name, task=family.task)
    return judge_outline(spec, found, settings) if found.tensors else UNKNOWN


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


def _family(family: type[LLMConfig], stored: list[StoredModel]) -> dict[str, Any]:
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


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
