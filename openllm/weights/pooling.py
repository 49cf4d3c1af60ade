"""How the vectors of an embedding model's tokens become one: what its directory says, for every
engine alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openllm.errors import UnsupportedFeature
from openllm.weights.checkpoint import read_json
from openllm.weights.modules import read_modules

FOLDER = "1_Pooling"  # where sentence-transformers puts it when modules.json does not say
# sentence-transformers' words for the modes, in the order in which several are joined, and ours.
MODES: Mapping[str, str] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean",
    "lasttoken": "last",
}
_MODE = "pooling_mode"
# The same as keys, true for the modes that are on, as earlier versions write them.
_FLAGS: Mapping[str, str] = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}


def pooling_of(directory: Path, config: Mapping[str, Any]) -> str:
    """How the model in `directory`, whose config.json holds `config`, is pooled: as stored, else
    the mean of an encoder and the last token of a decoder. Several modes, whose vectors are joined,
    are written with a plus: "cls+mean".

    Errors: UnsupportedFeature for a pooling no engine can do, WeightsError for a torn file.
    """
    stored = stored_pooling(directory)
    if stored is not None:
        return stored
    return "mean" if is_encoder(config) else "last"


def stored_pooling(directory: Path) -> str | None:
    """What sentence-transformers' pooling file says; None when there is none. Errors: those of
    `pooling_of`.
    """
    path = _pooling_file(directory)
    if not path.is_file():
        return None
    found = read_json(path)
    said = found.get(_MODE)
    if said is None:
        flags = [mode for key, mode in _FLAGS.items() if found.get(f"{_MODE}_{key}") is True]
        unknown = {
            key.removeprefix(f"{_MODE}_")
            for key, value in found.items()
            if key.startswith(f"{_MODE}_") and value is True
        } - _FLAGS.keys()
        said = [*flags, *sorted(unknown)] or ["mean"]  # sentence-transformers' own default
    chosen = said if isinstance(said, list) else [said]
    if not chosen or not all(isinstance(mode, str) and mode in MODES for mode in chosen):
        raise UnsupportedFeature(
            f"The model is pooled by {' and '.join(map(str, chosen)) or 'nothing'}, which no"
            " engine does.",
            hint=f"Known are {', '.join(MODES)}.",
        )
    return "+".join(MODES[mode] for mode in chosen)


def pools_prompt(directory: Path) -> bool:
    """Whether a prompt before a text counts in the pooling, as it does unless the file says
    otherwise.
    """
    path = _pooling_file(directory)
    return not path.is_file() or read_json(path).get("include_prompt") is not False


def _pooling_file(directory: Path) -> Path:
    found = read_modules(directory).pooling_file
    return found if found is not None else directory / FOLDER / "config.json"


def is_encoder(config: Mapping[str, Any]) -> bool:
    """Whether every token of the model sees every other: no architecture of a causal model, and not
    said to be a decoder.
    """
    if config.get("is_decoder"):
        return False
    names = config.get("architectures") or ()
    if any("ForCausalLM" in name or name.endswith("LMHeadModel") for name in names):
        return False
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = config.get("model_type")
    return (
        kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
