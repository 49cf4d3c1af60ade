"""The choice of an engine: the one that was asked for, else vLLM where it is usable, else
PyTorch.
"""

from __future__ import annotations

from openllm.backends.base import Backend
from openllm.config.spec import LLMSpec
from openllm.discovery import load_module, module_names
from openllm.errors import ConfigurationError, MissingDependency, option, say

PACKAGE = "openllm.backends"
ORDER = ("vllm", "pytorch")  # what is tried when nothing is said


def select_backend(spec: LLMSpec, *, sure: bool = False) -> tuple[type[Backend], str]:
    """The backend for `spec`, and one line that says which it is and why.

    `sure` imports the engine, too: for the process that will run it. Without it nothing is imported
    to look. Errors: ConfigurationError when the backend asked for cannot run here (the message
    names the remedy), MissingDependency when none can.
    """
    return _forced(spec, spec.backend, sure) if spec.backend else _first_usable(spec, sure)


def select_packed(spec: LLMSpec) -> type[Backend]:
    """The backend of a Bento of `spec`: the one asked for, also where only other machines can run
    it, else as above.

    Errors: those of `select_backend`.
    """
    if spec.backend is None:
        return select_backend(spec)[0]
    backend = find_backend(spec.backend)
    if reason := backend.unpackable(spec):
        raise ConfigurationError(
            f"The {backend.name} backend cannot go into a Bento here: {reason}", param="backend"
        )
    return backend


def find_backend(name: str) -> type[Backend]:
    """The backend called `name`: what the module of that name exports. Errors:
    ConfigurationError.
    """
    if name in module_names(PACKAGE):
        backend: type[Backend] | None = getattr(load_module(PACKAGE, name), "BACKEND", None)
        if backend is not None:
            return backend
    raise ConfigurationError(f"There is no backend {name!r}.", param="backend")


def _obstacle(backend: type[Backend], spec: LLMSpec, sure: bool) -> str | None:
    return backend.unusable(spec) or (backend.broken(spec) if sure else None)


def _forced(spec: LLMSpec, name: str, sure: bool) -> tuple[type[Backend], str]:
    backend = find_backend(name)
    if reason := _obstacle(backend, spec, sure):
        others = " or ".join(option("backend", other) for other in ORDER if other != name)
        raise ConfigurationError(
            f"The {name} backend cannot run here: {reason}",
            hint=f"Or take {others}.",
            param="backend",
        )
    return backend, f"Backend {name}: it was asked for."


def _first_usable(spec: LLMSpec, sure: bool) -> tuple[type[Backend], str]:
    reasons: list[str] = []
    for name in ORDER:
        backend = find_backend(name)
        reason = _obstacle(backend, spec, sure)
        if reason is None:
            why = " ".join(reasons) if reasons else "it is usable here."
            return backend, say(f"Backend {name}: {why}")
        reasons.append(reason)
    raise MissingDependency("No engine can run here.", hint=" ".join(reasons))
