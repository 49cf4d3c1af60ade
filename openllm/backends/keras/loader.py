"""From a directory of weights to a running KerasHub model: the framework chosen, the weights
counted, the logits held against transformers' where torch is there."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from openllm.backends.keras.families import ELSEWHERE, FLOAT32_ONLY, full_config, geometry, preset
from openllm.backends.keras.runtime import Runtime
from openllm.discovery import load_module
from openllm.errors import (
    ConfigurationError,
    MissingDependency,
    UnsupportedCombination,
    WeightsError,
)

INSTALL: Mapping[str, str] = {
    "jax": "pip install keras-hub safetensors jax",
    "tensorflow": "pip install keras-hub safetensors tensorflow",
}
DTYPES: Mapping[str, str] = {"auto": "float32", "float32": "float32", "bfloat16": "bfloat16"}
# Largest difference of logits from transformers' in float32, as a share of the largest logit.
TOLERANCE: Mapping[str, float] = {"float32": 3e-4, "bfloat16": 0.1}
PROBE = 96  # tokens: long enough for a wrong rotary embedding to show
_BUFFERS = (
    "rotary_emb.inv_freq",
    ".attn.bias",
    ".attn.masked_bias",
)  # in old checkpoints, and not weights


def missing_packages(framework: str) -> str | None:
    """What to install, as one sentence; None when all is there. Imports nothing."""
    needed = ("keras", "keras_hub", "safetensors", framework)
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        return f"{', '.join(missing)} is not installed: {INSTALL[framework]}."
    return None


def foreign_framework(framework: str) -> str | None:
    """Why `framework` cannot be used in this process, as one sentence; None when it can. Imports
    nothing.
    """
    keras = sys.modules.get("keras")
    running = keras.config.backend() if keras is not None else framework
    if running == framework:
        return None
    return (
        f"Keras runs on {running} in this process already and can run on one framework only; "
        f"serve the {framework} model in a process of its own."
    )


def import_keras(framework: str) -> ModuleType:
    """`keras_hub`, on `framework`. Errors: MissingDependency, UnsupportedCombination."""
    if missing := missing_packages(framework):
        raise MissingDependency(missing)
    if clash := foreign_framework(framework):
        raise UnsupportedCombination(clash)
    # Keras takes its framework from this variable, once, when it is first imported; there is no
    # other way to say it.
    os.environ["KERAS_BACKEND"] = framework
    return importlib.import_module("keras_hub")


def load_runtime(framework: str, weights_dir: Path, dtype: str, verify: bool = True) -> Runtime:
    """The model in `weights_dir`, ready to run. `dtype` is one of DTYPES.

    Errors: UnsupportedCombination, ConfigurationError (dtype), WeightsError (files that do not fit,
    or logits that differ from transformers'), MissingDependency.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(
            f"dtype {dtype!r} is not one of {', '.join(DTYPES)}.", param="dtype"
        )
    config = full_config(weights_dir)
    if config["model_type"] in FLOAT32_ONLY and DTYPES[dtype] != "float32":
        raise UnsupportedCombination(
            f"KerasHub runs {config['model_type']} models in float32 only.",
            hint="Leave dtype out.",
            param="dtype",
        )
    keras_hub = import_keras(framework)
    model = _load_model(keras_hub, weights_dir, config, DTYPES[dtype])
    runtime_type: type[Runtime] = load_module(
        "openllm.backends.keras", f"{framework}_runtime"
    ).RUNTIME
    runtime = runtime_type(model, geometry(config))
    if verify and importlib.util.find_spec("torch") is not None:
        _verify(runtime, weights_dir, DTYPES[dtype])
    return runtime


def _load_model(
    keras_hub: ModuleType, weights_dir: Path, config: Mapping[str, Any], dtype: str
) -> Any:
    from safetensors import SafetensorError

    try:
        with preset(weights_dir, config) as directory:
            stored = _stored_values(directory, config)
            backbone = keras_hub.models.Backbone.from_preset(str(directory), dtype=dtype)
            model = keras_hub.models.CausalLM.from_preset(
                str(directory), backbone=backbone, preprocessor=None
            )
    except (ValueError, KeyError, OSError, SafetensorError) as error:
        raise WeightsError(
            f"KerasHub cannot load {weights_dir}: {error}.", hint=ELSEWHERE
        ) from error
    _set_epsilon(model, config.get("rms_norm_eps", config.get("layer_norm_epsilon")))
    loaded = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    if loaded != stored:
        raise WeightsError(
            f"{weights_dir} holds {stored:,} weights, KerasHub's model has {loaded:,}: it is"
            " another architecture.",
            hint=ELSEWHERE,
        )
    return model


def _set_epsilon(model: Any, epsilon: Any) -> None:
    """Give every norm the model's epsilon: KerasHub forgets it in Llama, in Qwen 3's head norms and
    in GPT-2.
    """
    for layer in model._flatten_layers():
        if hasattr(layer, "epsilon"):
            layer.epsilon = epsilon


def _stored_values(directory: Path, config: Mapping[str, Any]) -> int:
    """How many numbers the checkpoint holds, without reading them; a tied output layer counts
    once.
    """
    from safetensors import safe_open

    index = directory / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    total = 0
    for name in names:
        with safe_open(directory / name, framework="np") as shard:
            for key in shard.keys():  # noqa: SIM118 - not a mapping
                tied = key == "lm_head.weight" and config.get("tie_word_embeddings")
                if not tied and not key.endswith(_BUFFERS):
                    total += int(np.prod(shard.get_slice(key).get_shape()))
    return total


def _verify(runtime: Runtime, weights_dir: Path, dtype: str) -> None:
    """Hold a prefill and a decode step against transformers. Errors: WeightsError."""
    size = min(PROBE, runtime.geometry.max_positions) - 1
    probe = (np.arange(size + 1, dtype=np.int32) * 7919 + 11) % runtime.geometry.vocab_size
    first, cache = runtime.prefill(runtime.empty(1, size + 1), 0, probe[:size], (0, size - 1))
    second, _ = runtime.decode(cache, probe[size:], np.asarray([size], np.int32))
    expected = _transformers_logits(weights_dir, probe)[-2:]
    worst = float(np.abs(np.stack([first, second[0]]) - expected).max())
    allowed = TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max()))
    if not worst <= allowed:  # NaN is wrong too
        raise WeightsError(
            f"KerasHub's logits for {weights_dir} differ from transformers' by {worst:.2g}"
            f" ({allowed:.2g} is allowed).",
            hint=ELSEWHERE,
        )


def _transformers_logits(weights_dir: Path, token_ids: np.ndarray[Any, np.dtype[np.int32]]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        weights_dir, dtype=torch.float32, local_files_only=True
    ).eval()
    with torch.inference_mode():
        return model(torch.from_numpy(token_ids.astype(np.int64))[None]).logits[0].numpy()
