"""What a sequence-classification model says of its labels: their names, and what turns its logits
into what its users expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from openllm.errors import UnsupportedFeature
from openllm.weights.checkpoint import read_config, read_json
from openllm.weights.modules import SETTINGS, model_directory, read_modules

Activation = Literal["identity", "sigmoid", "softmax", "tanh", "relu"]
# Of torch.nn, by the last part of the path that sentence-transformers writes.
_BY_CLASS: Mapping[str, Activation] = {
    "Identity": "identity",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
    "ReLU": "relu",
}
# transformers' `problem_type`.
_BY_PROBLEM: Mapping[str, Activation] = {
    "regression": "identity",
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
}
_ARCHITECTURE = "ForSequenceClassification"
_BODIES = ("ForMaskedLM", "ForPreTraining", "ForTextEncoding", "EncoderModel", "Model")
_WRITERS = (
    *("LMHeadModel", "HeadsModel", "ChatModel", "ChatGLMModel"),
    *("UltravoxModel", "NVLM_D_Model", "LlavaLlamaModel"),
)
# What a model that also sees or hears has in config.json: it writes text, whatever its name.
_PARTS = frozenset(
    {
        *("text_config", "llm_config", "language_config", "vision_config", "audio_config"),
        *("audio_model_id", "text_model_id", "mm_vision_tower", "vision_tower_cfg"),
    }
)
# Those with a part for images that write nothing: texts and images as vectors.
_TWO_TOWERS = frozenset({"CLIPModel", "SiglipModel"})


@attrs.frozen
class Labels:
    """The labels of one model, in the order of its logits."""

    names: tuple[str, ...]
    activation: Activation


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether config.json is that of a model with a head for labels of whole texts."""
    names = config.get("architectures")
    return isinstance(names, list) and any(str(name).endswith(_ARCHITECTURE) for name in names)


def task_of(directory: Path) -> str | None:
    """The task of a model as its files show it; None where they do not. Errors: WeightsError,
    UnsupportedFeature.
    """
    config = read_config(model_directory(directory))
    if is_classifier(config):
        return "classify"
    shown = read_modules(directory).task
    return "embed" if shown is None and _is_body(config) else shown


def _is_body(config: Mapping[str, Any]) -> bool:
    """Whether config.json is that of a model without a head for writing text: an encoder with one
    for masked words, or no head at all. vLLM tells them apart by the same names.
    """
    names = config.get("architectures")
    said = config.get("auto_map")
    if not isinstance(names, list) or not names or "AutoModelForCausalLM" in (said or {}):
        return False
    name = str(names[0])
    if not _PARTS.isdisjoint(config) and name not in _TWO_TOWERS:
        return False
    return name.endswith(_BODIES) and not name.endswith(_WRITERS)


def read_labels(directory: Path) -> Labels:
    """The labels of the model in `directory`. Errors: WeightsError; UnsupportedFeature for an
    activation that is not known here.
    """
    config = read_config(directory)
    names = ("LABEL_0",) if read_modules(directory).score is not None else label_names(config)
    return Labels(names, _activation(directory, config, len(names)))


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in config.json's `id2label`; LABEL_0 and so on where there are none, for the two
    labels that transformers takes for granted or those that `num_labels` says.
    """
    named = config.get("id2label")
    if isinstance(named, Mapping) and named:
        return tuple(str(named[key]) for key in sorted(named, key=_number))
    count = config.get("num_labels")
    return tuple(f"LABEL_{at}" for at in range(count if type(count) is int and count > 0 else 2))


def _number(key: Any) -> int:
    return int(key) if str(key).isdecimal() else 0


def _activation(directory: Path, config: Mapping[str, Any], count: int) -> Activation:
    """What sentence-transformers' files say, else transformers' `problem_type`, else a sigmoid of
    one label and a softmax of several, as vLLM does.
    """
    said = _stored(directory, config)
    if said is not None:
        module, _, name = said.rpartition(".")
        if not module.startswith("torch.nn") or name not in _BY_CLASS:
            raise UnsupportedFeature(
                f"The model's activation, {said}, is not known here.",
                hint=f"Known are {', '.join(_BY_CLASS)} of torch.nn.",
            )
        return _BY_CLASS[name]
    problem = config.get("problem_type")
    if isinstance(problem, str) and problem in _BY_PROBLEM:
        return _BY_PROBLEM[problem] if count > 1 or problem == "regression" else "sigmoid"
    return "softmax" if count > 1 else "sigmoid"


def _stored(directory: Path, config: Mapping[str, Any]) -> str | None:
    """The activation that sentence-transformers wrote down: its own file from 5.4 on, before that
    in config.json.
    """
    path = directory / SETTINGS
    found = read_json(path).get("activation_fn") if path.is_file() else None
    section = config.get("sentence_transformers")
    if found is None and isinstance(section, Mapping):
        found = section.get("activation_fn")
    if found is None:
        found = config.get("sbert_ce_default_activation_function")
    return found if isinstance(found, str) else None
