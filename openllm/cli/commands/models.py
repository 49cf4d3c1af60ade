"""List the model families, and the models in the local store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from openllm import models
from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.given.verdicts import HEAD, verdict_cell, verdict_fields
from openllm.cli.output import print_json, print_table
from openllm.config.settings import Settings
from openllm.config.sizes import readable_count, readable_size
from openllm.errors import WeightsError
from openllm.models.base import LLMConfig
from openllm.weights.checkpoint import architecture
from openllm.weights.store import StoredModel, list_store

if TYPE_CHECKING:
    from openllm.llm.catalogue import Verdict

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
@click.option("--search", metavar="WORDS", help="Only what all of these words are said of.")
@click.option("--fits", is_flag=True, help="Only what fits this machine, as it is or quantised.")
@format_option(*FORMATS)
def command(search: str | None, *, fits: bool, output: str) -> None:
    """List the model families, and the models in the local store.

    A family's name stands for its default model: `openllm start llama`. Other models of the family
    are named by --model-id, or alone: `openllm start meta-llama/Llama-3.2-3B-Instruct`.

    \b
    openllm models --search vision
    openllm models --search "qwen coder" --fits

    With --search or --fits each model has its own line, and says whether it fits here, by what is
    known of its shape: nothing is downloaded.
    """
    settings = Settings.from_env()
    stored = list_store(settings.bentoml_home)
    if search is not None or fits:
        _print_found(
            FoundModels.of((search or "").lower().split(), settings, fits=fits), stored, output
        )
        return
    families = models.all_families()
    if output == "json":
        print_json(
            {
                "families": [_plain(family) for family in families],
                "stored": [_stored(item) for item in stored],
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
    _print_stored(stored)


class FoundModels(NamedTuple):
    """Models of the catalogue that were looked for, by family and id, each with whether it fits."""

    words: list[str]
    verdicts: dict[type[LLMConfig], dict[str, Verdict]]

    @classmethod
    def of(cls, words: list[str], settings: Settings, *, fits: bool) -> FoundModels:
        """`fits` leaves out what does not fit, and what nobody can tell of."""
        from openllm.llm.catalogue import judge

        found: dict[type[LLMConfig], dict[str, Verdict]] = {}
        for family in models.all_families():
            ids = [each for each in family.model_ids if has_words(family.words_of(each), words)]
            verdicts = {each: judge(family, each, settings) for each in ids}
            if fits:
                verdicts = {
                    each: verdict
                    for each, verdict in verdicts.items()
                    if verdict.fits in ("yes", "quantised")
                }
            if verdicts:
                found[family] = verdicts
        return cls(words, found)


def has_words(text: str, words: Sequence[str]) -> bool:
    """Whether each of `words` is in `text`."""
    return all(word in text for word in words)


def _print_found(found: FoundModels, stored: Sequence[StoredModel], output: str) -> None:
    kept = [
        item
        for item in stored
        if has_words(f"{item.tag} {_family_of(item) or ''}".lower(), found.words)
    ]
    if output == "json":
        families = [
            _plain(family)
            | {
                "cards": {
                    model_id: family.cards().get(model_id, {}) | verdict_fields(verdict)
                    for model_id, verdict in verdicts.items()
                }
            }
            for family, verdicts in found.verdicts.items()
        ]
        print_json({"families": families, "stored": [_stored(item) for item in kept]})
        return
    rows = [
        (model_id, family.name, *card_cells(family, model_id), verdict_cell(verdict))
        for family, verdicts in found.verdicts.items()
        for model_id, verdict in verdicts.items()
    ]
    if rows:
        print_table(("MODEL", "FAMILY", "PARAMETERS", "CONTEXT", "LICENSE", HEAD), rows)
    else:
        click.echo("No model of the catalogue is found so: any other id of the Hub can be planned.")
    if kept:
        click.echo()
        _print_stored(kept)


def card_cells(family: type[LLMConfig], model_id: str) -> tuple[str, str, str]:
    """Of a model its parameters, those that a token passes where not all do, its context and its
    licence.
    """
    card = family.models.get(model_id)
    if card is None:
        return ("-", "-", family.license_of(model_id) or "-")
    active = f", {readable_count(card.active)} active" if card.active else ""
    parameters = readable_count(card.parameters) + active
    return (parameters, str(card.context), family.license_of(model_id))


def _plain(family: type[LLMConfig]) -> dict[str, Any]:
    return {key: getattr(family, key) for key in FAMILY_FIELDS} | _facts(family)


def _stored(item: StoredModel) -> dict[str, Any]:
    return {
        "tag": item.tag,
        "family": _family_of(item),
        "architecture": _architecture(item),
        "size": item.size,
        "path": str(item.path),
    }


def _print_stored(stored: Sequence[StoredModel]) -> None:
    if not stored:
        click.echo("The local store holds no models yet: `openllm build` puts them there.")
        return
    rows = [(item.tag, _family_of(item) or "-", readable_size(item.size)) for item in stored]
    print_table(("STORED MODEL", "FAMILY", "SIZE"), rows)


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
