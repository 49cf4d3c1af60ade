"""What is written for a model, in code, on a command line or in a recipe, as one LLMSpec."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm import models
from openllm.config.hf_options import translate_options
from openllm.config.names import is_path, is_tag, split_hub_name
from openllm.config.recipes import find_recipe
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import AdapterSpec, LLMSpec, resolve_spec
from openllm.discovery import did_you_mean
from openllm.errors import (
    ConfigurationError,
    OpenLLMError,
    UnknownFamily,
    WeightsError,
    call,
    option,
)
from openllm.models.base import LLMConfig
from openllm.weights.aliases import tag_of
from openllm.weights.checkpoint import architecture
from openllm.weights.labels import task_of
from openllm.weights.origin import DEMO, named_directory
from openllm.weights.store import find_model, find_tag

_OWN = frozenset(("make_engine", "settings", "token", "weights_dir"))  # beside those of a spec
ModelId = str | os.PathLike[str]  # as callers may write it


def spec_for(
    model: ModelId | LLMSpec | None, options: Mapping[str, Any], settings: Settings
) -> LLMSpec:
    """The spec of a model named in code: options, then `OPENLLM_*` variables, then what its family
    says. An LLMSpec is taken as it is; for None, the option `model_id` says what the model is.

    Options may hold sampling parameters too (`max_new_tokens=512`): they become the defaults of
    requests; and the names of transformers' `from_pretrained`. Errors: ConfigurationError,
    UnknownFamily.
    """
    if isinstance(model, LLMSpec):
        if options:
            raise ConfigurationError(
                f"{min(options)} was given beside an LLMSpec, which says everything itself.",
                hint="Put it into the spec: attrs.evolve(spec, ...).",
                param=min(options),
            )
        return model
    options = dict(options)
    name: ModelId = options.pop("model_id", DEMO) if model is None else model
    from openllm.types import SamplingParams  # with msgspec, which commands that print do without

    # Sampling parameters that may stand among an LLM's options; `seed` there is the engine's.
    named = {"max_new_tokens", *attrs.fields_dict(SamplingParams)} - {"seed"}
    options = {
        key: _text(value) if key == "model_id" else value
        for key, value in translate_options(options).items()
    }
    _check_names(options, named)
    explicit = {key: value for key, value in options.items() if key not in named}
    sampling = {key: value for key, value in options.items() if key in named}
    if sampling:
        explicit["sampling"] = {**explicit.get("sampling", {}), **sampling}
    return resolve_model(_text(name), Layers(explicit, spec_layer()), settings)


def _check_names(options: Mapping[str, Any], sampling: set[str]) -> None:
    """Errors: ConfigurationError for a name that an LLM does not take."""
    taken = {*attrs.fields_dict(LLMSpec), *sampling}
    for key in options:
        if key not in taken:
            hint = did_you_mean(key, sorted(taken | _OWN)) or f"See {call('LLMSpec')}."
            raise ConfigurationError(f"An LLM has no option {key!r}.", hint=hint, param=key)


def _text(model: ModelId | None) -> str | None:
    """A path as text. Errors: ConfigurationError for what is neither."""
    if model is None or isinstance(model, str):
        return model
    if not isinstance(model, os.PathLike):
        raise ConfigurationError(
            f"A model cannot be {model!r}.", hint="Name a directory, a Hub id or a family."
        )
    path = os.fspath(model)
    return path if is_path(path) else f"./{path}"  # a Path("gpt2") is no Hub id


@attrs.frozen
class Layers:
    """Where options come from, the strongest first; keys are LLMSpec's fields, None means "not
    said".
    """

    explicit: Mapping[str, Any] = attrs.field(factory=dict)
    environment: Mapping[str, Any] = attrs.field(factory=dict)
    recipe: Mapping[str, Any] = attrs.field(factory=dict)  # or the spec in a Bento


def resolve_model(model: str | None, layers: Layers, settings: Settings) -> LLMSpec:
    """The spec of `model`: a family's name, a directory, a Hub id (also `hf://owner/name` and
    `owner/name@revision`), a model-store tag, an alias of one, or None for what the layers say.

    A family's name brings its default model, which OPENLLM_MODEL_ID and --model-id replace;
    anything else is the model id itself. With nothing said at all it is the demo. Errors:
    ConfigurationError, UnknownFamily, UnsupportedCombination for a backend that the family does not
    run on.
    """
    home = settings.bentoml_home
    said = {**_named(model, layers.explicit, home), **_given(layers.explicit)}
    known = {**_given(layers.recipe), **_given(layers.environment), **said}
    family = models.get(str(known["family"])) if "family" in known else None
    model_id = known.get("model_id", family.default_id if family else DEMO)
    if model_id is None:
        raise ConfigurationError(
            f"The family {known['family']} has no default model.", hint=f"Add {option('model_id')}."
        )
    if not isinstance(model_id, str):
        raise ConfigurationError(f"model_id must be a text, got {model_id!r}.", param="model_id")
    located = _located_in([said, _given(layers.environment), _given(layers.recipe)], model_id, home)
    family = family or _recognise(located["model_id"], settings)
    weakest = {**family.spec_layer()} if family else {}
    weakest |= {**_alias_name(model_id, home), **_task_of_files(located["model_id"], settings)}
    if family and _is_chosen({**layers.environment, **said}, layers.recipe, located["model_id"]):
        weakest |= _defaults_of(family, located["model_id"], settings)
    spec = resolve_spec({**said, **located}, layers.environment, layers.recipe, weakest)
    if family is not None and spec.backend is not None:
        family.require_backend(spec.backend)
    return _with_others_located(spec, home)


def _given(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if value is not None}


def _located_in(layers: Sequence[Mapping[str, Any]], model_id: str, home: Path) -> dict[str, str]:
    """What `_located` says of `model_id`, which stands in one of `layers`, the strongest first: a
    revision that stands in a stronger one goes before that in the name, one in a weaker one after
    it. Errors: ConfigurationError for two in one layer.
    """
    at = next((index for index, layer in enumerate(layers) if "model_id" in layer), 0)
    located = _located(model_id, layers[at].get("revision"), home)
    if any("revision" in stronger for stronger in layers[:at]):
        located.pop("revision", None)
    return located


def _with_others_located(spec: LLMSpec, home: Path) -> LLMSpec:
    """`spec` with the names of its draft model and its adapters read as that of its model. Errors:
    ConfigurationError.
    """
    draft = spec.speculative_model
    if draft is not None:
        located = _located(draft, None, home)
        if "revision" in located:
            raise ConfigurationError(
                f"speculative_model {draft} names a revision, which a draft model cannot have.",
                hint=f"Store that revision (openllm pull {draft}), and name its tag.",
                param="speculative_model",
            )
        draft = located["model_id"]
    adapters = tuple(located_adapter(adapter, home) for adapter in spec.adapters)
    return attrs.evolve(spec, speculative_model=draft, adapters=adapters)


def located_adapter(adapter: AdapterSpec, home: Path) -> AdapterSpec:
    """`adapter` with an alias of the store below BentoML's `home` read as its tag, and what can
    only be on the Hub as its repository and revision. Errors: ConfigurationError for two revisions.
    """
    located = _located(adapter.source, adapter.revision, home)
    revision = located.get("revision", adapter.revision)
    return attrs.evolve(adapter, source=located["model_id"], revision=revision)


def _located(model_id: str, revision: str | None, home: Path) -> dict[str, str]:
    """The fields of a spec that a name stands for: an alias for its tag, and what can only be a
    model on the Hub for its repository and revision. Errors: ConfigurationError for two revisions.
    """
    if (tag := tag_of(model_id, home)) is not None:
        return {"model_id": tag}
    named = None if is_path(model_id) or named_directory(model_id) else split_hub_name(model_id)
    if named is None:
        return {"model_id": model_id}
    repo, written = named
    if written is None:
        return {"model_id": repo}
    if revision not in (None, written):
        raise ConfigurationError(
            f"{model_id} names the revision {written}, and {option('revision')} is {revision}.",
            hint="Name one of them.",
            param="revision",
        )
    return {"model_id": repo, "revision": written}


def _alias_name(model_id: str, home: Path) -> dict[str, str]:
    """What requests call a model that an alias names: the alias."""
    return {"name": model_id} if tag_of(model_id, home) is not None else {}


def _named(model: str | None, explicit: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """What MODEL says: a family, or a model id."""
    if model is None:
        return {}
    both = explicit.get("model_id") is not None
    if not model.strip():
        raise ConfigurationError("MODEL is empty.", hint="Name a directory, a Hub id or a family.")
    if not both and (tag_of(model, home) is not None or not _is_word(model)):
        return {"model_id": model}
    family = models.get(model)  # with --model-id, MODEL can be nothing but a family
    return (
        {"model_id": DEMO, "family": DEMO}
        if family.name == DEMO and not both
        else {"family": family.name}
    )


def _is_word(model: str) -> bool:
    """Whether `model` can only be a family's name: neither a path, nor a Hub id, nor a tag
    (`name:version`).
    """
    if is_path(model) or "/" in model or ":" in model:
        return False
    try:
        models.get(model)
    except UnknownFamily:
        return named_directory(model) is None
    return True


def named_recipe(model: str) -> Path | None:
    """The file of the recipe that comes with openllm and that `model` names; None where it is a
    family's name, or no recipe's.
    """
    try:
        models.get(model)
    except UnknownFamily:
        return find_recipe(model)
    return None


def _is_chosen(said: Mapping[str, Any], recipe: Mapping[str, Any], model_id: str) -> bool:
    """Whether somebody chose the family: in a Bento, whose weights have tags, it was found."""
    return said.get("family") is not None or (
        recipe.get("family") is not None and not is_tag(model_id)
    )


def _defaults_of(family: type[LLMConfig], model_id: str, settings: Settings) -> dict[str, bool]:
    """What makes the defaults of a chosen family apply: {} where the id says so itself."""
    own = family.name == models.GENERIC or family_of_id(model_id, settings) is family
    return {} if own else {"family_defaults": True}


def family_of_id(model_id: str, settings: Settings) -> type[LLMConfig] | None:
    """The family that a model's id says by itself, of a stored model also the Hub id that it came
    from; None: it says none. A directory's path never does.
    """
    if named_directory(model_id) is not None:
        return None
    if family := models.named(model_id):
        return family
    if not is_tag(model_id):
        return None
    try:
        source = find_model(model_id, settings.bentoml_home).metadata.get("hub_id")
    except WeightsError:  # loading explains it
        return None
    return models.named(str(source)) if source else None


def _recognise(model_id: str, settings: Settings) -> type[LLMConfig] | None:
    """The family of a model id, as far as can be told without the network; None leaves it to the
    weights.
    """
    try:
        directory = _files_of(model_id, settings)
        by_path = named_directory(model_id) is not None and directory is not None
        named = str(directory.absolute()) if by_path and directory is not None else model_id
        family = models.resolve(named, architecture(directory) if directory else None)
    except WeightsError:  # loading explains it
        return None
    return None if family.name == models.GENERIC else family


def _files_of(model_id: str, settings: Settings) -> Path | None:
    """The directory that a path or a tag stands for; None for what may have to be fetched. Errors:
    WeightsError.
    """
    directory = named_directory(model_id)
    if directory is None and is_tag(model_id):
        return find_tag(model_id, settings.bentoml_home)
    return directory


def _task_of_files(model_id: str, settings: Settings) -> dict[str, str]:
    """The task that a model's own files show: {} where they show none, or may have to be
    fetched.
    """
    try:
        directory = _files_of(model_id, settings)
        task = task_of(directory) if directory is not None else None
    except OpenLLMError:  # loading explains it, and a task that is named needs no showing
        return {}
    return {} if task is None else {"task": task}
