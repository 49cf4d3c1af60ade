"""What can be wrong with an installation and its machine, each looked at without importing an
engine.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
from packaging.requirements import Requirement

from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import LLMSpec
from openllm.errors import option
from openllm.facts import all_facts
from openllm.weights.hub import has_token, hub_cache, is_offline, nearest

LITTLE_ROOM = 5 * 2**30  # bytes: less than a small model and a Bento of it take
NEWEST_PYTHON = (3, 13)  # what the engines' wheels are made for
_OPTIONAL = "extra"  # in the marker of what only an extra requires


@attrs.frozen
class Finding:
    """One thing that was looked at; `mend` is a command or sentence, empty where nothing is to be
    done.
    """

    what: str
    state: Literal["fine", "note", "wrong"]
    said: str
    mend: str = ""


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order in which they are worth mending."""
    return [
        _python(),
        *_packages(),
        *_engines(settings),
        _gpus(settings),
        *_disks(settings),
        _token(),
        _port(settings),
    ]


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] > NEWEST_PYTHON:
        newest = ".".join(map(str, NEWEST_PYTHON))
        return Finding(
            "Python",
            "note",
            f"{version}: engines may have no packages for it yet.",
            f"Where one cannot be installed, take Python {newest}.",
        )
    return Finding("Python", "fine", version)


def _packages() -> Iterator[Finding]:
    """Whether what openllm and BentoML require is installed, in versions that fit together."""
    wrong = list(dict.fromkeys(_unmet("openllm") + _unmet("transformers") + _unmet("bentoml")))
    if not wrong:
        yield Finding("Packages", "fine", "those that are required are here, and fit together.")
    for name, requirement, found in wrong:
        said = f"{name} requires {requirement}, and " + (
            f"{found} is installed." if found else "it is not installed."
        )
        yield Finding("Packages", "wrong", said, f'pip install "{requirement}"')


def _unmet(name: str) -> list[tuple[str, str, str | None]]:
    """What a distribution requires and does not have: its name, the requirement, what is there."""
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    unmet: list[tuple[str, str, str | None]] = []
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is not None and (_OPTIONAL in str(marker) or not marker.evaluate()):
            continue
        found = _version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            unmet.append((name, f"{requirement.name}{requirement.specifier}", found))
    return unmet


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _engines(settings: Settings) -> Iterator[Finding]:
    """Which engines can run here, and why others cannot; wrong where none can that is tried by
    itself.
    """
    from openllm.backends.select import obstacle

    ranked = [facts for facts in all_facts() if facts.rank is not None]
    reasons = {
        facts.name: obstacle(LLMSpec(model_id="demo", backend=facts.name), facts.name, settings)
        for facts in ranked
    }
    none = all(reasons.values())
    for facts in ranked:
        reason = reasons[facts.name]
        what = f"Engine {facts.name}"
        if reason is None:
            yield Finding(what, "fine", f"{facts.title} can run here.")
        else:
            yield Finding(what, "wrong" if none else "note", reason)


def _gpus(settings: Settings) -> Finding:
    from openllm.hardware.gpus import visible_gpus

    gpus = visible_gpus(settings.visible_devices)
    if gpus:
        said = "; ".join(
            f"{gpu.name}, {readable_size(gpu.free)} of {readable_size(gpu.total)} free"
            for gpu in gpus
        )
        return Finding("GPUs", "fine", f"{said}.")
    if settings.visible_devices is not None:
        return Finding(
            "GPUs", "note", "CUDA_VISIBLE_DEVICES hides all of them.", "unset CUDA_VISIBLE_DEVICES"
        )
    if Path("/dev/nvidiactl").exists():
        return Finding(
            "GPUs", "wrong", "there is an NVIDIA GPU, and its driver does not answer.", "nvidia-smi"
        )
    return Finding("GPUs", "note", "none is visible: models run on the CPU.")


def _disks(settings: Settings) -> Iterator[Finding]:
    yield _disk("Store", settings.bentoml_home, "BENTOML_HOME")
    yield _disk("Hub's cache", hub_cache(), "HF_HOME")


def _disk(what: str, folder: Path, variable: str) -> Finding:
    """Whether a directory can be written to, and has room."""
    there = nearest(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(
            what,
            "wrong",
            f"{folder} cannot be written to.",
            f"export {variable}=/a/directory/of/yours",
        )
    free = shutil.disk_usage(there).free
    said = f"{folder}: {readable_size(free)} free."
    if free < LITTLE_ROOM:
        return Finding(what, "note", said, f"openllm prune, or export {variable}=/a/larger/disk")
    return Finding(what, "fine", said)


def _token() -> Finding:
    if is_offline():
        return Finding("Hub", "note", "HF_HUB_OFFLINE is set: nothing is fetched.")
    if has_token():
        return Finding("Hub", "fine", "there is a token, for gated and private models.")
    return Finding(
        "Hub", "note", "no token: public models only, gated ones are refused.", "hf auth login"
    )


def _port(settings: Settings) -> Finding:
    """Whether `openllm start` could listen where the settings say."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        return Finding(
            "Port",
            "note",
            f"{where} cannot be listened at: {error.strerror}.",
            f"openllm ps, or give openllm start {option('port', settings.port + 1)}",
        )
    return Finding("Port", "fine", f"{where} is free.")
