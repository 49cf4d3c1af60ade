"""The NVIDIA GPUs this process may use, read through the driver's library: no framework, no CUDA
context.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from openllm.config.settings import Settings


@attrs.frozen
class Gpu:
    """One visible GPU; `index` counts the visible ones, memory in bytes."""

    index: int
    name: str
    total: int
    free: int


def visible_gpus(mask: str | None = None) -> tuple[Gpu, ...]:
    """The GPUs behind `mask` (default: CUDA_VISIBLE_DEVICES), in its order; empty where there is no
    driver.
    """
    nvml = _nvml()
    if nvml is None:
        return ()
    with _opened(nvml) as ready:
        if not ready:
            return ()
        mask = Settings.from_env().visible_devices if mask is None else mask
        return tuple(_read(nvml, at, handle) for at, handle in enumerate(_handles(nvml, mask)))


def _nvml() -> ModuleType | None:
    """NVML's Python binding: nvidia-ml-py, or the copy that vLLM carries, loaded without importing
    vLLM.
    """
    if importlib.util.find_spec("pynvml") is not None:
        return importlib.import_module("pynvml")
    vllm = importlib.util.find_spec("vllm")
    for folder in (vllm.submodule_search_locations or ()) if vllm else ():
        path = Path(folder, "third_party", "pynvml.py")
        spec = (
            importlib.util.spec_from_file_location("openllm_vendored_pynvml", path)
            if path.exists()
            else None
        )
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return None


@contextlib.contextmanager
def _opened(nvml: Any) -> Iterator[bool]:
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # no driver, or one that does not answer
        yield False
        return
    try:
        yield True
    finally:
        nvml.nvmlShutdown()


def _handles(nvml: Any, mask: str | None) -> list[Any]:
    everything = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
    if mask is None:
        return everything
    handles = []
    for entry in (part.strip() for part in mask.split(",")):
        handle = _handle(nvml, everything, entry)
        if handle is None:  # CUDA stops at the first entry that names nothing
            break
        handles.append(handle)
    return handles


def _handle(nvml: Any, everything: list[Any], entry: str) -> Any:
    if entry.isdigit():
        return everything[int(entry)] if int(entry) < len(everything) else None
    if entry.startswith("MIG-"):
        with contextlib.suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(entry)
    if entry.startswith("GPU-"):  # an abbreviated UUID will do
        return next(
            (item for item in everything if _text(nvml.nvmlDeviceGetUUID(item)).startswith(entry)),
            None,
        )
    return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(nvml: Any, at: int, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(at, _text(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free))
