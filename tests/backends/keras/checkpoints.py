"""Tiny random checkpoints in transformers' format, written with numpy alone: one per family, and
ways to spoil them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

VOCAB = 131
WIDTH = 32
HEADS, KV_HEADS = 4, 2

COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": 200,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-2,  # large, so that a converter that forgets it is caught
    "eos_token_id": 2,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
SCALED_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "llama": {**COMMON, "model_type": "llama"},
    "llama-scaled": {
        **COMMON,
        "model_type": "llama",
        "rope_parameters": SCALED_ROPE,
        "tie_word_embeddings": True,
    },
    "qwen2": {**COMMON, "model_type": "qwen2"},
    "qwen3": {**COMMON, "model_type": "qwen3", "head_dim": 16},
    "smollm3": {
        **COMMON,
        "model_type": "smollm3",
        "num_hidden_layers": 4,
        "no_rope_layers": [1, 1, 1, 0],
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    },
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": VOCAB,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_layer": 2,
        "n_positions": 100,  # no power of two
        "layer_norm_epsilon": 1e-2,
        "eos_token_id": 2,
    },
}
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}


def write_checkpoint(path: Path, name: str, **overrides: Any) -> Path:
    """The checkpoint `name` of CONFIGS in `path`, the same numbers every time; `overrides` change
    its configuration.
    """
    config = {**CONFIGS[name], **overrides}
    config["architectures"] = [ARCHITECTURES.get(config["model_type"], "LlamaForCausalLM")]
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    weights = random_weights({**CONFIGS[name], "vocab_size": config["vocab_size"]})
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


def random_weights(config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Weights by transformers' names, wide enough for clear greedy answers."""
    draw = np.random.default_rng(5)
    shapes = gpt2_shapes(config) if config["model_type"] == "gpt2" else decoder_shapes(config)
    return {
        name: (draw.normal(1.0 if norm_scale(name) else 0.0, 0.25, shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def norm_scale(name: str) -> bool:
    return name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))


def decoder_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", width // HEADS)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], width),
        "model.norm.weight": (width,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for part, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            shapes[f"{at}self_attn.{part}_proj.weight"] = (heads * head, width)
            if config["model_type"] == "qwen2":
                shapes[f"{at}self_attn.{part}_proj.bias"] = (heads * head,)
            if config["model_type"] == "qwen3" and part != "v":
                shapes[f"{at}self_attn.{part}_norm.weight"] = (head,)
        shapes[f"{at}self_attn.o_proj.weight"] = (width, HEADS * head)
        shapes[f"{at}mlp.gate_proj.weight"] = shapes[f"{at}mlp.up_proj.weight"] = (inner, width)
        shapes[f"{at}mlp.down_proj.weight"] = (width, inner)
        shapes[f"{at}input_layernorm.weight"] = shapes[f"{at}post_attention_layernorm.weight"] = (
            width,
        )
    return shapes


def gpt2_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    width = config["n_embd"]
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (config["vocab_size"], width),
        "transformer.wpe.weight": (config["n_positions"], width),
        "transformer.ln_f.weight": (width,),
        "transformer.ln_f.bias": (width,),
    }
    layers = {"attn.c_attn": 3, "attn.c_proj": 1, "mlp.c_fc": 4}
    for layer in range(config["n_layer"]):
        at = f"transformer.h.{layer}."
        for part, times in layers.items():
            shapes[f"{at}{part}.weight"] = (width, times * width)
            shapes[f"{at}{part}.bias"] = (times * width,)
        shapes[f"{at}mlp.c_proj.weight"] = (4 * width, width)
        for name in ("mlp.c_proj.bias", "ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"):
            shapes[at + name] = (width,)
    return shapes
