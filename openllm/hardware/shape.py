"""What the engine's plan needs to know of a model, read from its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from openllm.hardware.fields import first, text_fields

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1}

# What configurations call the longest sequence, in tokens.
_LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length"),
    *("seq_length", "max_target_positions", "model_max_length"),
)
# And the experts of a layer: Mixtral and gpt-oss, Qwen, DeepSeek, DBRX, ERNIE.
_EXPERTS = (
    *("num_local_experts", "num_experts", "n_routed_experts"),
    *("moe_num_experts", "num_routed_experts"),
)


@attrs.frozen
class ModelShape:
    """Sizes of a decoder; 0 where the configuration does not say."""

    layers: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    vocab: int = 0
    intermediate: int = 0
    longest: int = 0  # tokens
    experts: int = 0  # of one layer; 0: none
    dtype: str = ""

    def kv_bytes_per_token(self, dtype: str) -> int:
        """Bytes of keys and values of one token in all layers; 0 when the shape is not known."""
        return 2 * self.layers * self.kv_heads * self.head_dim * DTYPE_BYTES.get(dtype, 2)


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """The shape of the text model in `config` (the content of config.json)."""
    fields = text_fields(config)
    heads = first(fields, "num_attention_heads", "n_head", "num_heads")
    hidden = hidden_size(config)
    return ModelShape(
        layers=first(fields, "num_hidden_layers", "n_layer", "num_layers"),
        heads=heads,
        kv_heads=first(fields, "num_key_value_heads") or heads,
        head_dim=first(fields, "head_dim") or (hidden // heads if heads else 0),
        vocab=first(fields, "vocab_size"),
        intermediate=first(fields, "intermediate_size", "n_inner", "ffn_dim"),
        longest=first(fields, "max_position_embeddings", "n_positions", "max_seq_len"),
        experts=first(fields, *_EXPERTS),
        dtype=str(fields.get("dtype") or fields.get("torch_dtype") or ""),
    )


def hidden_size(config: Mapping[str, Any]) -> int:
    """Numbers in a token's hidden state; 0 where the configuration does not say."""
    return first(text_fields(config), "hidden_size", "n_embd", "d_model")


def longest_context(config: Mapping[str, Any]) -> int:
    """Tokens that no engine goes beyond with the model of `config`, rotary positions stretched as
    far as it says; 0 where it does not say, or where nothing ends: positions are distances (ALiBi).
    """
    fields = text_fields(config)
    if has_alibi(fields):
        return 0
    longest = max(first(fields, name) for name in _LENGTHS)
    stretched = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
    factor = stretched.get("factor") if isinstance(stretched, Mapping) else None
    return int(longest * max(factor, 1)) if isinstance(factor, int | float) else longest


def has_alibi(config: Mapping[str, Any]) -> bool:
    """Whether attention is biased by distance alone (https://arxiv.org/abs/2108.12409) and no
    length ends it: BLOOM and the first Falcons. MPT's code lays its distances out for `max_seq_len`
    tokens, so that is its limit.
    """
    kind = config.get("model_type")
    return kind == "bloom" or (kind == "falcon" and config.get("alibi") is True)


def plain_attention(config: Mapping[str, Any]) -> bool:
    """Whether every layer keeps keys and values of the whole sequence; else the sizes below say too
    much.
    """
    fields = text_fields(config)
    if fields.get("kv_lora_rank") or fields.get("sliding_window") or fields.get("state_size"):
        return False
    layers = fields.get("layer_types")
    return not layers or set(layers) == {"full_attention"}
