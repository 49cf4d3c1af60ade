"""A LoRA adapter in the one form that vLLM reads: peft's plain names, those of the base model's
layers, one rank and one alpha.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from openllm.weights.adapters import ADAPTER_WEIGHTS, CheckedAdapter
from openllm.weights.checkpoint import ADAPTER_CONFIG, tensor_shapes
from openllm.weights.layers import find_layers

_PREFIX = "base_model.model."


def is_plain(adapter: CheckedAdapter, names: Mapping[str, str]) -> bool:
    """Whether vLLM can read the adapter's own files; `names` as of `stored_names`."""
    return adapter.uniform and all(
        (layer.down, layer.up) == _keys(names[module]) for module, layer in adapter.layers.items()
    )


def write_plain(adapter: CheckedAdapter, names: Mapping[str, str], into: Path) -> Path:
    """Write the same adapter into the directory `into`: what its layers are multiplied by stands in
    their matrices, and those of a lower rank are filled up with zeros.
    """
    import torch
    from safetensors.torch import load_file, save_file

    tensors, rank = load_file(adapter.weights), adapter.rank
    found = {}
    for module, layer in adapter.layers.items():
        down, up = tensors[layer.down].float(), tensors[layer.up].float() * layer.scale
        missing = rank - layer.rank
        pair = (
            torch.nn.functional.pad(down, (0, 0, 0, missing)),
            torch.nn.functional.pad(up, (0, missing)),
        )
        for key, matrix in zip(_keys(names[module]), pair, strict=True):
            found[key] = matrix.contiguous()
    save_file(found, into / ADAPTER_WEIGHTS)
    fields = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": list(adapter.targets),
        "fan_in_fan_out": adapter.transposed,
        "bias": "none",
    }
    (into / ADAPTER_CONFIG).write_text(json.dumps(fields))
    return into


def stored_names(adapter: CheckedAdapter, base: Path) -> Mapping[str, str]:
    """What the base model's files call each of the adapter's layers."""
    known = [name.removesuffix(".weight") for name in tensor_shapes(base)]
    found = find_layers(adapter.layers, known)
    return {module: _name(module, stored) for module, stored in found.items()}


def _name(module: str, stored: str | None) -> str:
    """`stored`, unless it only lacks the outermost name, as in GPT-2's first files: vLLM adds that
    to the weights' names itself.
    """
    if stored is None or (module.endswith(f".{stored}") and "language_model" not in module):
        return module
    return stored


def _keys(module: str) -> tuple[str, str]:
    return f"{_PREFIX}{module}.lora_A.weight", f"{_PREFIX}{module}.lora_B.weight"
