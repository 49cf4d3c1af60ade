"""The families once more, in plain numpy and float64, straight from a checkpoint: what KerasHub is
held against.

`test_reference.py` holds this against transformers wherever torch is installed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

MARGIN = 1e-3  # two logits nearer than this may come in either order
Weights = Mapping[str, np.ndarray]


class NumpyModel:
    """The causal language model in `path`, one sequence at a time, no cache."""

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(
            ImportError
        ):  # teaches numpy bfloat16; jax and tensorflow bring it
            importlib.import_module("ml_dtypes")
        self.config: dict[str, Any] = json.loads((path / "config.json").read_text())
        self.weights: Weights = {
            name: value.astype(np.float64)
            for shard in sorted(path.glob("model*.safetensors"))
            for name, value in load_file(shard).items()
        }

    def logits(self, token_ids: Sequence[int]) -> np.ndarray:
        """Logits (tokens, vocabulary) after each token."""
        forward = _gpt2 if self.config["model_type"] == "gpt2" else _decoder
        return forward(self.config, self.weights, np.asarray(token_ids))

    def logprobs(self, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
        rows = self.logits([*prompt, *answer])[len(prompt) - 1 : -1]
        rows = (
            rows
            - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True))
            - rows.max(-1)[:, None]
        )
        return [float(row[token]) for row, token in zip(rows, answer, strict=True)]

    def assert_greedy(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Every token of `answer` is the best one after what stands before it, or as good as the
        best.
        """
        rows = self.logits([*prompt, *answer])[len(prompt) - 1 : -1]
        for at, (row, token) in enumerate(zip(rows, answer, strict=True)):
            assert row.max() - row[token] < MARGIN, (
                f"token {at}: {token}, best is {int(row.argmax())}"
            )


def _decoder(config: Mapping[str, Any], weights: Weights, ids: np.ndarray) -> np.ndarray:
    """Llama and its kin: RMS norms, rotary embedding, grouped heads, SwiGLU; biases and head norms
    where they are.
    """
    eps = config["rms_norm_eps"]
    hidden = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = _rms(hidden, weights[at + "input_layernorm.weight"], eps)
        hidden = hidden + _attention(config, weights, layer, x)
        x = _rms(hidden, weights[at + "post_attention_layernorm.weight"], eps)
        gate = x @ weights[at + "mlp.gate_proj.weight"].T
        up = x @ weights[at + "mlp.up_proj.weight"].T
        hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ weights[at + "mlp.down_proj.weight"].T
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return _rms(hidden, weights["model.norm.weight"], eps) @ head.T


def _attention(
    config: Mapping[str, Any], weights: Weights, layer: int, x: np.ndarray
) -> np.ndarray:
    heads, size = config["num_attention_heads"], len(x)
    width = config.get("head_dim") or config["hidden_size"] // heads
    parts = {}
    for part in "qkv":
        at = f"model.layers.{layer}.self_attn.{part}"
        value = x @ weights[at + "_proj.weight"].T + weights.get(at + "_proj.bias", 0.0)
        value = value.reshape(size, -1, width)
        if at + "_norm.weight" in weights:
            value = _rms(value, weights[at + "_norm.weight"], config["rms_norm_eps"])
        if part != "v" and config.get("no_rope_layers", [1] * (layer + 1))[layer]:
            value = _rotate(value, config["rope_parameters"])
        parts[part] = np.repeat(value, heads // value.shape[1], axis=1)
    mixed = _mix(parts["q"], parts["k"], parts["v"])
    return mixed @ weights[f"model.layers.{layer}.self_attn.o_proj.weight"].T


def _mix(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Causal attention over (tokens, heads, width)."""
    size, _, width = query.shape
    scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(width)
    scores = np.where(np.tril(np.ones((size, size), bool)), scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", shares, value).reshape(size, -1)


def _rms(x: np.ndarray, scale: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def _rotate(x: np.ndarray, rope: Mapping[str, Any]) -> np.ndarray:
    half = x.shape[-1] // 2
    frequencies = _scaled(rope["rope_theta"] ** -(np.arange(half) / half), rope)
    angles = np.arange(len(x))[:, None, None] * frequencies
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [
            first * np.cos(angles) - second * np.sin(angles),
            second * np.cos(angles) + first * np.sin(angles),
        ],
        -1,
    )


def _scaled(frequencies: np.ndarray, rope: Mapping[str, Any]) -> np.ndarray:
    """Llama 3.1's stretching of the low frequencies."""
    if rope["rope_type"] != "llama3":
        return frequencies
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return frequencies * (share + (1 - share) / rope["factor"])


def _gpt2(config: Mapping[str, Any], weights: Weights, ids: np.ndarray) -> np.ndarray:
    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[name + ".weight"] + weights[name + ".bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(
            (centred**2).mean(-1, keepdims=True) + config["layer_norm_epsilon"]
        )
        return scaled * weights[name + ".weight"] + weights[name + ".bias"]

    embedding = weights["transformer.wte.weight"]
    hidden = embedding[ids] + weights["transformer.wpe.weight"][: len(ids)]
    for layer in range(config["n_layer"]):
        at = f"transformer.h.{layer}."
        parts = np.split(linear(norm(hidden, at + "ln_1"), at + "attn.c_attn"), 3, axis=-1)
        mixed = _mix(*(part.reshape(len(ids), config["n_head"], -1) for part in parts))
        hidden = hidden + linear(mixed, at + "attn.c_proj")
        inner = linear(norm(hidden, at + "ln_2"), at + "mlp.c_fc")
        inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        hidden = hidden + linear(inner, at + "mlp.c_proj")
    return norm(hidden, "transformer.ln_f") @ embedding.T
