"""GPUs by their names: memory of each kind, for plans of machines that are not here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from openllm.discovery import did_you_mean
from openllm.errors import ConfigurationError
from openllm.hardware.gpus import Gpu

_MIB = 2**20


@attrs.frozen
class GpuKind:
    """One kind of GPU. `memory` is what the driver shows, in MiB; `bf16` and `fp8`: it computes in
    them.
    """

    name: str  # as people write it
    memory: int
    bf16: bool = True
    fp8: bool = False

    def gpus(self, count: int) -> tuple[Gpu, ...]:
        """So many of them, all of their memory free."""
        size = self.memory * _MIB
        return tuple(Gpu(at, self.name, size, size) for at in range(count))


# What nvidia-smi, or rocm-smi, shows as total memory of each.
GPUS: Mapping[str, GpuKind] = {
    kind.name.lower(): kind
    for kind in (
        GpuKind("T4", 15360, bf16=False),
        GpuKind("V100-16GB", 16384, bf16=False),
        GpuKind("V100", 32768, bf16=False),
        GpuKind("L4", 23034, fp8=True),
        GpuKind("A10", 23028),
        GpuKind("A10G", 23028),
        GpuKind("A30", 24576),
        GpuKind("A40", 46068),
        GpuKind("L40", 46068, fp8=True),
        GpuKind("L40S", 46068, fp8=True),
        GpuKind("A6000", 49140),
        GpuKind("RTX-6000-Ada", 49140, fp8=True),
        GpuKind("RTX-PRO-6000", 97887, fp8=True),
        GpuKind("RTX-3060", 12288),
        GpuKind("RTX-3090", 24576),
        GpuKind("RTX-4060-Ti-16GB", 16380, fp8=True),
        GpuKind("RTX-4080", 16376, fp8=True),
        GpuKind("RTX-4090", 24564, fp8=True),
        GpuKind("RTX-5080", 16303, fp8=True),
        GpuKind("RTX-5090", 32607, fp8=True),
        GpuKind("A100-40GB", 40960),
        GpuKind("A100", 81920),
        GpuKind("H100", 81559, fp8=True),
        GpuKind("H100-NVL", 95830, fp8=True),
        GpuKind("GH200", 97871, fp8=True),
        GpuKind("H200", 143771, fp8=True),
        GpuKind("B200", 183359, fp8=True),
        GpuKind("B300", 275040, fp8=True),
        GpuKind("MI210", 65520),
        GpuKind("MI250", 131040),
        GpuKind("MI300X", 196592, fp8=True),
        GpuKind("MI325X", 262128, fp8=True),
    )
}
_MAKERS = re.compile(r"^(nvidia|amd|geforce|tesla|instinct|quadro)[ -]?")
_FORMS = re.compile(r"[ -](pcie|sxm[0-9]?|oam|hbm3e?|80gb|tensor-core|gpu)\b")


def find_gpu(name: str) -> GpuKind:
    """The kind that `name` writes: `H100`, `nvidia-l4`, `nvidia-a100-80gb`, `RTX 4090`, or the name
    that the driver gives. Errors: ConfigurationError that names the nearest.
    """
    found = known_gpu(name)
    if found is None:
        names = [kind.name for kind in GPUS.values()]
        raise ConfigurationError(
            f"No GPU {name!r} is known.",
            hint=did_you_mean(name, names) or f"There are {', '.join(names)}.",
        )
    return found


def known_gpu(name: str) -> GpuKind | None:
    """As `find_gpu`; None for one that is not known."""
    word = name.strip().lower().replace(" ", "-").replace("_", "-")
    while (shorter := _MAKERS.sub("", word)) != word:
        word = shorter
    for form in (word, _FORMS.sub("", word)):
        if form in GPUS:
            return GPUS[form]
    return None
