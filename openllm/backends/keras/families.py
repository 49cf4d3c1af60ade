"""Which checkpoints KerasHub converts rightly, and the config.json that makes it do so."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.errors import UnsupportedCombination, WeightsError, option
from openllm.weights.endings import end_token_ids
from openllm.weights.resolve import read_config

_SILU = ("silu", "swish")

# Model type -> what KerasHub's conversion takes for granted without looking: configuration key ->
# values it is right for. These model types, and no others, gave transformers' logits to 1e-4 in
# float32 (KerasHub 0.32).
FAMILIES: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "llama": {
        "hidden_act": _SILU,
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "rope_type": ("default", "llama3"),
    },
    "qwen2": {"hidden_act": _SILU, "use_sliding_window": (False,), "rope_type": ("default",)},
    "qwen3": {
        "hidden_act": _SILU,
        "attention_bias": (False,),
        "use_sliding_window": (False,),
        "rope_type": ("default",),
    },
    "smollm3": {
        "hidden_act": _SILU,
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "use_sliding_window": (False,),
        "tie_word_embeddings": (True,),
        "rope_type": ("default",),
    },
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
        "rope_type": ("default",),
    },
}
FLOAT32_ONLY = ("smollm3",)  # whose layers in KerasHub do not take the model's dtype
OTHERS = f"{option('backend', 'pytorch')} or vllm"
ELSEWHERE = f"Take {OTHERS} for it."


@attrs.frozen
class Geometry:
    """What the engine must know of a model's shape."""

    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int  # tokens


def require_family(weights_dir: Path) -> str:
    """The model type in `weights_dir`. Errors: UnsupportedCombination that names the types which
    go.
    """
    model_type = str(read_config(weights_dir).get("model_type"))
    if model_type not in FAMILIES:
        raise UnsupportedCombination(
            f"KerasHub is not known to convert model type {model_type!r} rightly; it is for"
            f" {', '.join(FAMILIES)}.",
            hint=ELSEWHERE,
            param="backend",
        )
    return model_type


def full_config(weights_dir: Path) -> dict[str, Any]:
    """config.json with every default filled in by transformers and the rotary embedding in its
    older spelling.

    KerasHub reads `rope_theta` and `rope_scaling`; from `rope_parameters`, which transformers 5
    writes, it takes theta alone and drops the scaling without a word. Errors:
    UnsupportedCombination for a variant KerasHub would get wrong.
    """
    model_type = require_family(weights_dir)
    from huggingface_hub.errors import (
        StrictDataclassError,
    )  # what transformers' configurations raise
    from transformers import AutoConfig

    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(
            weights_dir, local_files_only=True
        ).to_dict()
    except (ValueError, TypeError, KeyError, OSError, StrictDataclassError) as error:
        why = " ".join(str(error).split())
        raise WeightsError(
            f"The config.json in {weights_dir} does not fit a {model_type} model: {why}"
        ) from error
    rope = dict(config.pop("rope_parameters", None) or {})
    config["rope_type"] = rope.get("rope_type", "default")
    _check(model_type, config, rope)
    config["rope_scaling"] = rope if config.pop("rope_type") == "llama3" else None
    if "rope_theta" in rope:
        config["rope_theta"] = rope.pop("rope_theta")
    return config


def _check(model_type: str, config: Mapping[str, Any], rope: Mapping[str, Any]) -> None:
    for key, right in FAMILIES[model_type].items():
        if config.get(key, right[0]) not in right:
            raise _variant(model_type, key, config[key])
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise _variant(model_type, "partial_rotary_factor", rope["partial_rotary_factor"])
    if model_type == "gpt2":
        if config.get("n_inner") not in (None, 4 * config["n_embd"]):
            raise _variant(model_type, "n_inner", config["n_inner"])
        return
    shared = config["hidden_size"] // config["num_attention_heads"]
    if model_type != "qwen3" and config.get("head_dim") not in (None, shared):
        raise _variant(model_type, "head_dim", config["head_dim"])


def _variant(model_type: str, key: str, value: Any) -> UnsupportedCombination:
    return UnsupportedCombination(
        f"KerasHub would get this {model_type} model wrong: its {key} is {value!r}.",
        hint=ELSEWHERE,
        param="backend",
    )


def geometry(config: Mapping[str, Any]) -> Geometry:
    """The shape of the model that `full_config` describes."""
    if config["model_type"] == "gpt2":
        heads = config["n_head"]
        width = config["n_embd"] // heads
        return Geometry(
            config["n_layer"], heads, width, config["vocab_size"], config["n_positions"]
        )
    heads = config["num_attention_heads"]
    return Geometry(
        config["num_hidden_layers"],
        config.get("num_key_value_heads") or heads,
        config.get("head_dim") or config["hidden_size"] // heads,
        config["vocab_size"],
        config["max_position_embeddings"],
    )


def end_tokens(weights_dir: Path) -> tuple[int, ...]:
    """The ids that end a turn: those that any of the directory's files names."""
    vocabulary = read_config(weights_dir)["vocab_size"]
    return tuple(end for end in end_token_ids(weights_dir) if end < vocabulary)


@contextlib.contextmanager
def preset(weights_dir: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """A short-lived directory with `config` as its config.json and the weights of `weights_dir` by
    link.
    """
    shards = [
        path
        for path in weights_dir.iterdir()
        if path.name.endswith((".safetensors", ".safetensors.index.json"))
    ]
    if not shards:
        raise WeightsError(
            f"{weights_dir} has no safetensors weights.", hint="KerasHub reads no other kind."
        )
    with tempfile.TemporaryDirectory(prefix="openllm-keras-") as name:
        directory = Path(name)
        (directory / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
        for path in shards:
            _link(path.resolve(), directory / path.name)
        yield directory


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the right to link
        shutil.copyfile(source, target)
