"""Which specs a command line means: MODEL, options, a recipe or a built Bento, and the
environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.given.options import FILE, F
from openllm.cli.given.words import offer_models
from openllm.cli.output import print_json
from openllm.config.names import is_tag
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import LLMSpec, identity_in, refuse_identity
from openllm.errors import ConfigurationError
from openllm.llm.resolve import Layers, named_recipe, resolve_model
from openllm.weights.aliases import tag_of

if TYPE_CHECKING:
    from openllm.bento.pack.resources import Resources


def model_argument(function: F) -> F:
    """MODEL and -f/--file."""
    file = click.option(
        "-f",
        "--file",
        "recipe",
        type=FILE,
        help="A recipe: a YAML file with the fields of a spec, or several specs under llms.",
    )
    offered = click.argument(
        "model", required=False, metavar="[MODEL]", shell_complete=offer_models
    )
    return offered(file(function))


def read_specs(
    model: str | None, recipe: Path | None, explicit: Mapping[str, Any], settings: Settings
) -> tuple[LLMSpec, ...]:
    """The specs in force. `model` may also name a recipe that comes with openllm, or a Bento of the
    local store.

    The command line beats the environment, that the recipe or Bento, that the family. Errors:
    ConfigurationError.
    """
    if model is not None and recipe is not None:
        raise ConfigurationError(
            "MODEL and --file exclude each other.", hint="Write the model into the recipe."
        )
    path, environment = _document(model, recipe, explicit, settings), spec_layer()
    if path is None:
        return (resolve_model(model, Layers(explicit, environment), settings),)
    from openllm.bento.pack.document import merge_document, read_document
    from openllm.bento.pack.places import placed

    written = read_document(path)
    if len(written) > 1:
        if said := identity_in(explicit):
            raise ConfigurationError(
                f"--{said[0].replace('_', '-')} cannot apply to {len(written)} models.",
                hint="Write it into the recipe.",
            )
        refuse_identity(environment, len(written))
    stronger = {name for layer in (explicit, environment) for name in layer if layer[name]}
    specs = []
    for number, item in enumerate(written):
        with placed(path, number, stronger):
            specs.append(resolve_model(None, Layers(explicit, environment, item), settings))
    return merge_document([spec.to_dict() for spec in specs], {})


def print_specs(specs: Sequence[LLMSpec]) -> None:
    """One spec as a JSON object, several as an array."""
    plain = [spec.to_dict() for spec in specs]
    print_json(plain[0] if len(plain) == 1 else plain)


def read_resources(
    model: str | None, recipe: Path | None, explicit: Mapping[str, Any], settings: Settings
) -> Resources:
    """The GPUs that a recipe or Bento asks for; none said where MODEL names neither. Errors:
    ConfigurationError.
    """
    from openllm.bento.pack import document
    from openllm.bento.pack.resources import Resources

    path = _document(model, recipe, explicit, settings)
    return document.read_resources(path) if path else Resources()


def _document(
    model: str | None, recipe: Path | None, explicit: Mapping[str, Any], settings: Settings
) -> Path | None:
    """The file of a recipe or Bento; None when MODEL names neither."""
    if recipe is not None or model is None or explicit.get("model_id") is not None:
        return recipe
    if tag_of(model, settings.bentoml_home) is not None:
        return None
    if is_bento(model, settings.bentoml_home):
        from openllm.bento.inspect import require_intact
        from openllm.bento.pack.document import bento_document
        from openllm.bento.pack.store import find_bento

        if settings.verify:
            require_intact(find_bento(model)[1], settings.verify_key)
        return bento_document(model)
    return named_recipe(model)


def is_bento(tag: str, home: Path) -> bool:
    """Whether the local Bento store has `name:version` (version may be latest)."""
    name, _, version = tag.partition(":")
    return is_tag(tag) and (home / "bentos" / name / version).exists()
