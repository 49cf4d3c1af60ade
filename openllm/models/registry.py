"""The model families: one module of constants each, found by being in `families/` or by an entry
point of the group `openllm.families`.

Which family a model belongs to never depends on an order of registration: its id decides first
(known ids, then patterns), then its architecture, then `generic` takes it.
"""

from __future__ import annotations

from types import ModuleType

from openllm.config.names import is_path
from openllm.discovery import Variant, did_you_mean, load, load_each, variants
from openllm.errors import ConfigurationError, UnknownFamily
from openllm.models.base import LLMConfig

GENERIC = "generic"
GROUP = "openllm.families"


def names() -> list[str]:
    """The names of all families, sorted, without importing them."""
    return list(variants(GROUP))


def is_ours(name: str) -> bool:
    """Whether the family called `name` comes with openllm."""
    return variants(GROUP)[name].distribution is None


def all_families() -> list[type[LLMConfig]]:
    """All families that can be loaded, sorted by name."""
    return load_each([variants(GROUP)[name] for name in names()], _read)


def get(name: str) -> type[LLMConfig]:
    """The family of that name or alias, in any case. Errors: UnknownFamily, naming the nearest
    ones.
    """
    if not isinstance(name, str):
        raise UnknownFamily(
            f"A family's name is a text, not {name!r}.", hint=f"There are {', '.join(names())}."
        )
    wanted = name.strip().lower()
    if wanted in names():
        return _load(wanted)
    for family in all_families():
        if wanted in family.aliases:
            return family
    raise _unknown(name)


def find(architecture: str) -> type[LLMConfig] | None:
    """The one family that `architecture` (as in config.json) stands for; None when no family claims
    it.

    Errors: ConfigurationError when two families claim it.
    """
    found = [
        family
        for family in all_families()
        if architecture in family.architectures and not family.by_id_only
    ]
    return _only(found, f"architecture {architecture}")


def resolve(model_id: str, architecture: str | None = None) -> type[LLMConfig]:
    """The family of a model: by exact id, by id pattern, by architecture, else `generic`.

    `model_id` may be a Hub id, a directory or a model-store tag (`org--name:version`). A
    directory's path decides nothing: what people call their folders says little. Errors:
    ConfigurationError when two families claim the model.
    """
    found = named(model_id) or (find(architecture) if architecture else None)
    return found or _load(GENERIC)


def named(model_id: str) -> type[LLMConfig] | None:
    """The family that a model's id alone says, as `resolve` reads it; None where it says none.
    Errors: ConfigurationError when two families claim it.
    """
    hub_id = _hub_id(model_id)
    if hub_id is None:
        return None
    known = [
        family
        for family in all_families()
        if hub_id in (known.lower() for known in family.model_ids)
    ]
    matching = known or [family for family in all_families() if family.matches(hub_id)]
    return _only(matching, f"model id {model_id}")


def _load(name: str) -> type[LLMConfig]:
    return load(variants(GROUP)[name], _read)


def _read(variant: Variant, module: ModuleType) -> type[LLMConfig]:
    """The one LLMConfig class that the variant's module defines."""
    own = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == module.__name__
    ]
    found = [kind for kind in own if issubclass(kind, LLMConfig)]
    if len(found) != 1 or found[0].name != variant.name:
        raise ConfigurationError(
            f"{module.__name__} must define one LLMConfig whose name is {variant.name!r}."
        )
    return found[0]


def _only(found: list[type[LLMConfig]], what: str) -> type[LLMConfig] | None:
    if len(found) > 1:
        both = " and ".join(family.name for family in found)
        raise ConfigurationError(
            f"The families {both} both claim {what}.", hint="Make one of them narrower."
        )
    return found[0] if found else None


def _hub_id(model_id: str) -> str | None:
    """The lower-cased Hub id that a model id or store tag stands for; None for a path."""
    if is_path(model_id):
        return None
    return model_id.partition(":")[0].replace("--", "/").lower()


def _unknown(name: str) -> UnknownFamily:
    known = [word for family in all_families() for word in (family.name, *family.aliases)]
    hint = did_you_mean(name.lower(), known) or f"There are {', '.join(names())}."
    if is_path(name) or "/" in name:
        hint = "That is a model: pass it as model_id, or to from_pretrained."
    return UnknownFamily(f"Unknown model family {name!r}.", hint=hint, param="family")
