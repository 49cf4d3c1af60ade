"""What a config.json says that no model can be: said before an engine spends minutes on them, or
fails somewhere inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openllm.errors import WeightsError

# The smallest and the largest that a size may be, by its names in transformers' configurations.
_SMALLEST = {
    "vocab_size": 1,
    "hidden_size": 1,
    "n_embd": 1,
    "d_model": 1,
    "num_attention_heads": 1,
    "n_head": 1,
    "num_key_value_heads": 1,
    "intermediate_size": 0,
    "num_hidden_layers": 0,
    "n_layer": 0,
}
_LARGEST = 2**31 - 1
_LAYERS = ("num_hidden_layers", "n_layer")
_FEW_LAYERS = 1000  # built within seconds, whatever their weights are


def check_types(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse what everybody reads from `config`, which was read from `path`, where it is of another
    type. Errors: WeightsError.
    """
    names = config.get("architectures") or []
    wrong = {
        "architectures": not isinstance(names, list) or not all(isinstance(n, str) for n in names),
        "model_type": not isinstance(config.get("model_type", ""), str | None),
        "quantization_config": not isinstance(config.get("quantization_config"), Mapping | None),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise WeightsError(
                f"{path} says {name}={config[name]!r:.80}, which is none.", hint="Fetch it again."
            )


def check_sizes(path: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Refuse sizes out of range in `config`, read from `path`, of a model with so many `tensors`;
    0 where that is not known. Errors: WeightsError.
    """
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, Mapping) else {}):
        for name, smallest in _SMALLEST.items():
            size = part.get(name)
            if isinstance(size, int) and not smallest <= size <= _LARGEST:
                raise WeightsError(
                    f"{path} says {name}={size}; it is between {smallest} and {_LARGEST}.",
                    hint="Fetch it again.",
                )
        for name in _LAYERS:
            layers = part.get(name)
            if isinstance(layers, int) and layers > max(_FEW_LAYERS, tensors):
                raise WeightsError(
                    f"{path} says {name}={layers}, and the weights have {tensors} tensors.",
                    hint="Fetch it again.",
                )
