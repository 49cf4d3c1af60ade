"""Devices by their names (cpu, cuda:1, mps): whether one is here, found with no framework."""

from __future__ import annotations

import sys
from pathlib import Path

from openllm.errors import ConfigurationError
from openllm.hardware.gpus import visible_gpus

# Where the kernel shows GPUs: AMD's, and NVIDIA's where their library cannot be asked.
_NODES = ("/dev/kfd", "/dev/nvidiactl")


def kind_of(device: str) -> str:
    """What kind of device a name means: `cuda` for `cuda:1`."""
    return device.partition(":")[0]


def require_device(device: str | None, mask: str | None) -> None:
    """Refuse a device that this machine does not have; `mask` is what CUDA_VISIBLE_DEVICES says.
    What cannot be told from here (a TPU, a GPU without its library) is left to the engine. Errors:
    ConfigurationError.
    """
    if device is None or kind_of(device) not in ("cuda", "mps"):
        return
    if kind_of(device) == "mps":
        if sys.platform != "darwin":
            raise _missing(device, "cpu", "mps is Apple's")
        return
    gpus = len(visible_gpus(mask))
    if not gpus:
        if _may_have_gpu(mask):
            return
        hidden = " CUDA_VISIBLE_DEVICES hides all GPUs." if mask is not None else ""
        raise _missing(device, "cpu", f"no GPU is visible.{hidden}".rstrip("."))
    index = device.partition(":")[2]
    if index and not (index.isdigit() and int(index) < gpus):
        names = ", ".join(["cpu", *(f"cuda:{at}" for at in range(gpus))])
        raise _missing(device, names, f"{gpus} GPU(s) are visible")


def runs_on_gpu(device: str | None, mask: str | None) -> bool:
    """Whether an engine that takes a GPU of any kind where there is one would run on one, as far as
    can be told from here.
    """
    if device is not None and device != "auto":
        return kind_of(device) != "cpu"
    if sys.platform == "darwin" or visible_gpus(mask):
        return True  # Apple's are behind no mask
    return _may_have_gpu(mask)


def _may_have_gpu(mask: str | None) -> bool:
    """Whether the kernel shows a GPU that the mask may leave to an engine."""
    return mask != "" and any(Path(node).exists() for node in _NODES)


def _missing(device: str, usable: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"There is no device {device!r} here: {why}.", hint=f"Usable: {usable}.", param="device"
    )
