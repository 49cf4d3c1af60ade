"""The choice of an engine: the one that was asked for, else the first that is usable of those whose
facts have a rank (vLLM, then PyTorch).
"""

from __future__ import annotations

from types import ModuleType

from openllm import models
from openllm.backends.base import Backend, unlike_contract
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.discovery import Variant, load, variants
from openllm.errors import BrokenExtension, ConfigurationError, MissingDependency, option, say
from openllm.facts import GROUP, all_facts, facts_of

MODULE = "backend"  # of a backend's package; it exports BACKEND


def select_backend(
    spec: LLMSpec, settings: Settings, *, sure: bool = False
) -> tuple[type[Backend], str]:
    """The backend for `spec`, and one line that says which it is and why.

    `sure` imports the engine, too: for the process that will run it. Without it nothing is imported
    to look. Errors: ConfigurationError when the backend asked for cannot run here (the message
    names the remedy), MissingDependency when none can.
    """
    if spec.backend is not None:
        return _forced(spec, spec.backend, settings, sure)
    return _first_usable(spec, settings, sure)


def select_packed(spec: LLMSpec, settings: Settings) -> type[Backend]:
    """The backend of a Bento of `spec`: the one asked for, also where only other machines can run
    it, else as above.

    Errors: those of `select_backend`.
    """
    if spec.backend is None:
        return select_backend(spec, settings)[0]
    backend = find_backend(spec.backend)
    if reason := unfit(spec, spec.backend) or backend.unpackable(spec, settings):
        raise ConfigurationError(
            f"The {spec.backend} backend cannot go into a Bento here: {reason}", param="backend"
        )
    return backend


def find_backend(name: str) -> type[Backend]:
    """The backend called `name`, its engine not imported. Errors: ConfigurationError,
    BrokenExtension.
    """
    facts_of(name)  # which says what there is, where there is no such backend
    return load(variants(GROUP)[name], _read, MODULE)


def obstacle(spec: LLMSpec, name: str, settings: Settings, *, sure: bool = False) -> str | None:
    """Why the backend called `name` cannot serve `spec` in this process, options in it marked as in
    an error; None when it can.
    """
    if reason := unfit(spec, name):
        return reason
    try:
        backend = find_backend(name)
    except BrokenExtension as error:
        return error.text
    reason = backend.unusable(spec, settings)
    return backend.broken(spec, settings) if reason is None and sure else reason


def _read(variant: Variant, module: ModuleType) -> type[Backend]:
    backend: type[Backend] = module.BACKEND
    if not issubclass(backend, Backend) or backend.facts.name != variant.name:
        raise ConfigurationError(f"{module.__name__}.BACKEND must be the Backend {variant.name!r}")
    if reason := unlike_contract(backend):
        raise ConfigurationError(f"{module.__name__}.BACKEND is unlike Backend: {reason}")
    return backend


def unfit(spec: LLMSpec, name: str) -> str | None:
    """What the facts of the backend called `name` have against `spec`; None: nothing."""
    facts = facts_of(name)
    if spec.task not in facts.tasks:
        return f"it has no task {spec.task}."
    if spec.adapters and not facts.adapters:
        return "it has no LoRA adapters."
    return None


def _forced(spec: LLMSpec, name: str, settings: Settings, sure: bool) -> tuple[type[Backend], str]:
    if reason := obstacle(spec, name, settings, sure=sure):
        others = " or ".join(
            option("backend", other) for other in ranked_backends(spec) if other != name
        )
        raise ConfigurationError(
            f"The {name} backend cannot run here: {reason}",
            hint=f"Or take {others}." if others else None,
            param="backend",
        )
    return find_backend(name), f"Backend {name}: it was asked for."


def _first_usable(spec: LLMSpec, settings: Settings, sure: bool) -> tuple[type[Backend], str]:
    reasons: list[str] = []
    for name in ranked_backends(spec):
        reason = obstacle(spec, name, settings, sure=sure)
        if reason is None:
            why = " ".join(reasons) if reasons else "it is usable here."
            return find_backend(name), say(f"Backend {name}: {why}")
        reasons.append(reason)
    raise MissingDependency("No engine can run here.", hint=" ".join(reasons))


def ranked_backends(spec: LLMSpec) -> list[str]:
    """The backends for a spec that names none: those with a rank on which its family runs, where
    that is known; the family's own where there is none.
    """
    ranked = [facts.name for facts in all_facts() if facts.rank is not None]
    if spec.family is None:
        return ranked
    family = models.get(spec.family)
    return [name for name in ranked if family.runs_on(name)] or list(family.all_backends())
