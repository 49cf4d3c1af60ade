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
class Card:
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
CARDS: Mapping[str, Card] = {
    card.name.lower(): card
    for card in (
        Card("T4", 15360, bf16=False),
        Card("V100-16GB", 16384, bf16=False),
        Card("V100", 32768, bf16=False),
        Card("L4", 23034, fp8=True),
        Card("A10", 23028),
        Card("A10G", 23028),
        Card("A30", 24576),
        Card("A40", 46068),
        Card("L40", 46068, fp8=True),
        Card("L40S", 46068, fp8=True),
        Card("A6000", 49140),
        Card("RTX-6000-Ada", 49140, fp8=True),
        Card("RTX-PRO-6000", 97887, fp8=True),
        Card("RTX-3060", 12288),
        Card("RTX-3090", 24576),
        Card("RTX-4060-Ti-16GB", 16380, fp8=True),
        Card("RTX-4080", 16376, fp8=True),
        Card("RTX-4090", 24564, fp8=True),
        Card("RTX-5080", 16303, fp8=True),
        Card("RTX-5090", 32607, fp8=True),
        Card("A100-40GB", 40960),
        Card("A100", 81920),
        Card("H100", 81559, fp8=True),
        Card("H100-NVL", 95830, fp8=True),
        Card("GH200", 97871, fp8=True),
        Card("H200", 143771, fp8=True),
        Card("B200", 183359, fp8=True),
        Card("B300", 275040, fp8=True),
        Card("MI210", 65520),
        Card("MI250", 131040),
        Card("MI300X", 196592, fp8=True),
        Card("MI325X", 262128, fp8=True),
    )
}
_MAKERS = re.compile(r"^(nvidia|amd|geforce|tesla|instinct|quadro)[ -]?")
_FORMS = re.compile(r"[ -](pcie|sxm[0-9]?|oam|hbm3e?|80gb|tensor-core|gpu)\b")


def find_card(name: str) -> Card:
    """The card that `name` writes: `H100`, `nvidia-l4`, `nvidia-a100-80gb`, `RTX 4090`, or the name
    that the driver gives. Errors: ConfigurationError that names the nearest.
    """
    found = known_card(name)
    if found is None:
        names = [card.name for card in CARDS.values()]
        raise ConfigurationError(
            f"No GPU {name!r} is known.",
            hint=did_you_mean(name, names) or f"There are {', '.join(names)}.",
            param="gpu",
        )
    return found


def known_card(name: str) -> Card | None:
    """As `find_card`; None for one that is not known."""
    word = name.strip().lower().replace(" ", "-").replace("_", "-")
    while (shorter := _MAKERS.sub("", word)) != word:
        word = shorter
    for form in (word, _FORMS.sub("", word)):
        if form in CARDS:
            return CARDS[form]
    return None
