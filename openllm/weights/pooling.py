"""How the vectors of an embedding model's tokens become one: what its directory says, for every
engine alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from openllm.errors import UnsupportedFeature, WeightsError
from openllm.weights.checkpoint import read_json

Pooling = Literal["mean", "cls", "last"]
MODULES = "modules.json"
FOLDER = "1_Pooling"  # where sentence-transformers puts it when modules.json does not say
# sentence-transformers' words for those that engines can do.
_MODES: Mapping[str, Pooling] = {
    "mean_tokens": "mean",
    "mean": "mean",
    "cls_token": "cls",
    "cls": "cls",
    "lasttoken": "last",
}
_MODE = "pooling_mode"


def pooling_of(directory: Path, config: Mapping[str, Any]) -> Pooling:
    """How the model in `directory`, whose config.json holds `config`, is pooled: as stored, else
    the mean of an encoder and the last token of a decoder.

    Errors: UnsupportedFeature for a pooling no engine can do, WeightsError for a torn file.
    """
    stored = stored_pooling(directory)
    if stored is not None:
        return stored
    return "mean" if is_encoder(config) else "last"


def stored_pooling(directory: Path) -> Pooling | None:
    """What sentence-transformers' pooling file says; None when there is none. Errors: those of
    `pooling_of`.
    """
    path = _pooling_file(directory)
    if not path.is_file():
        return None
    found = read_json(path)
    chosen = [
        key.removeprefix(f"{_MODE}_")
        for key, value in found.items()
        if key.startswith(f"{_MODE}_") and value is True
    ]
    if isinstance(found.get(_MODE), str):  # as newer versions write it
        chosen = [found[_MODE]]
    if len(chosen) != 1 or chosen[0] not in _MODES:
        raise UnsupportedFeature(
            f"The model is pooled by {' and '.join(chosen) or 'nothing known'}, which no engine"
            " does.",
            hint="Take a model that is pooled by the mean, the first or the last token.",
        )
    return _MODES[chosen[0]]


def _pooling_file(directory: Path) -> Path:
    folder = FOLDER
    if (directory / MODULES).is_file():
        folder = next((str(part["path"]) for part in _modules(directory) if _pools(part)), FOLDER)
    return directory / Path(folder).name / "config.json"


def _modules(directory: Path) -> list[Any]:
    path = directory / MODULES
    try:
        modules = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is not readable JSON: {error}.", hint="Fetch it again."
        ) from error
    return modules if isinstance(modules, list) else []


def _pools(module: Any) -> bool:
    """Whether an entry of modules.json is the one that pools, and says where its file is."""
    return (
        isinstance(module, Mapping)
        and str(module.get("type")).endswith(".Pooling")
        and isinstance(module.get("path"), str)
    )


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
