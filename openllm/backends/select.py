"""The choice of an engine: the one that was asked for, else vLLM where it is usable, else PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

from openllm.backends.base import Backend
from openllm.discovery import load_module, module_names
from openllm.errors import ConfigurationError, MissingDependency
from openllm.spec import LLMSpec

PACKAGE = "openllm.backends"
ORDER = ("vllm", "pytorch")  # what is tried when nothing is said


def select_backend(spec: LLMSpec) -> tuple[type[Backend], str]:
    """The backend for `spec`, and one line that says which it is and why.

    Errors: ConfigurationError when the backend asked for cannot run here (the message names the remedy),
    MissingDependency when none can.
    """
    return _forced(spec, spec.backend) if spec.backend else _first_usable(spec)


def find_backend(name: str) -> type[Backend]:
    """The backend called `name`: the module of that name, else the module that lists it in `ALIASES`.

    Errors: ConfigurationError.
    """
    names = module_names(PACKAGE)
    for module_name in sorted(names, key=lambda found: found != name):
        module = load_module(PACKAGE, module_name)
        backend: type[Backend] | None = getattr(module, "BACKEND", None)
        aliases: Mapping[str, type[Backend]] = getattr(module, "ALIASES", {})
        if name in aliases:
            return aliases[name]
        if module_name == name and backend is not None:
            return backend
    raise ConfigurationError(f"There is no backend {name!r}.", param="backend")


def _forced(spec: LLMSpec, name: str) -> tuple[type[Backend], str]:
    backend = find_backend(name)
    if reason := backend.unusable(spec):
        others = " or ".join(f"--backend {other}" for other in ORDER if other != name)
        raise ConfigurationError(
            f"The {name} backend cannot run here: {reason}", hint=f"Or take {others}.", param="backend"
        )
    return backend, f"Backend {name}: it was asked for."


def _first_usable(spec: LLMSpec) -> tuple[type[Backend], str]:
    reasons: list[str] = []
    for name in ORDER:
        backend = find_backend(name)
        reason = backend.unusable(spec)
        if reason is None:
            why = " ".join(reasons) if reasons else "it is usable here."
            return backend, f"Backend {name}: {why}"
        reasons.append(reason)
    raise MissingDependency("No engine can run here.", hint=" ".join(reasons))
