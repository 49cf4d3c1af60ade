"""Which kind each layer of a model is: it attends to everything, to a window, or has a state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from openllm.hardware.fields import first, flag, names_in, numbers_in


class Kind(Enum):
    """What a layer keeps of a sequence."""

    FULL = "full"  # of all tokens
    WINDOW = "window"  # of the last ones
    STATE = "state"  # something of a fixed size
    BOTH = "both"  # all tokens, and a state
    NOTHING = "nothing"


_WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("full_attention", "attention", "global", "*"), Kind.FULL),
    **dict.fromkeys(("sliding_attention", "chunked_attention", "local"), Kind.WINDOW),
    **dict.fromkeys(("linear_attention", "mamba", "mamba2", "conv", "recurrent", "M"), Kind.STATE),
    "hybrid": Kind.BOTH,
    **dict.fromkeys(("moe", "mlp", "-", "E"), Kind.NOTHING),
}
# Every how many layers one attends to everything, in configurations that leave it to their class.
_PATTERNS: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}
_STATE_ONLY = frozenset(("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"))
_BOTH = frozenset(("falcon_h1", "hymba"))


def layer_kinds(fields: Mapping[str, Any], seen: int = 0) -> list[Kind]:
    """One kind for each layer of the text model whose fields these are; `seen` is how many the
    weights have, for a configuration that does not say.
    """
    count = first(fields, "num_hidden_layers", "n_layer", "num_layers", "decoder_layers") or seen
    if flag(fields, "is_encoder_decoder"):
        count = first(fields, "num_decoder_layers", "decoder_layers") or count
    kind = str(fields.get("model_type") or "")
    if kind in _STATE_ONLY or kind in _BOTH:
        return [Kind.BOTH if kind in _BOTH else Kind.STATE] * count
    found = _written(fields) or _by_rule(fields, count) or _by_window(fields, kind, count)
    return found[:count] if count else found


def _written(fields: Mapping[str, Any]) -> list[Kind]:
    """Where each layer has a word of its own."""
    for name in ("layer_types", "layers_block_type"):
        if words := names_in(fields, name):
            return [_WORDS.get(word, Kind.FULL) for word in words]
    pattern = fields.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        return [_WORDS.get(letter, Kind.NOTHING) for letter in pattern]
    if marks := numbers_in(fields, "attn_type_list"):
        return [Kind.FULL if mark else Kind.STATE for mark in marks]
    return []


def _by_rule(fields: Mapping[str, Any], count: int) -> list[Kind]:
    """Where a few numbers say which layers attend, and the others have a state."""
    layers = range(count)
    attending: set[int] = set()
    if period := first(fields, "attn_layer_period"):
        offset = first(fields, "attn_layer_offset")
        attending = {layer for layer in layers if layer % period == offset}
    elif interval := first(fields, "full_attention_interval"):
        attending = {layer for layer in layers if (layer + 1) % interval == 0}
    elif chosen := numbers_in(fields, "attn_layer_indices") or numbers_in(fields, "full_attn_idxs"):
        attending = set(chosen)
    elif isinstance(linear := fields.get("linear_attn_config"), Mapping):
        attending = {layer - 1 for layer in numbers_in(linear, "full_attn_layers")}
    elif blocks := names_in(fields, "block_types"):
        windowed = [blocks[layer % len(blocks)] == "attention" for layer in layers]
        return [Kind.WINDOW if attends else Kind.STATE for attends in windowed]
    if not attending:
        return []
    return [Kind.FULL if layer in attending else Kind.STATE for layer in layers]


def _by_window(fields: Mapping[str, Any], kind: str, count: int) -> list[Kind]:
    """Where every layer attends, and some or all of them to a window."""
    slides = first(fields, "sliding_window") and fields.get("use_sliding_window") is not False
    if not slides:
        return [Kind.FULL] * count
    pattern = first(fields, "sliding_window_pattern") or _PATTERNS.get(kind, 0)
    if pattern:
        return [Kind.WINDOW if (at + 1) % pattern else Kind.FULL for at in range(count)]
    begin = first(fields, "max_window_layers") if flag(fields, "use_sliding_window") else 0
    return [Kind.FULL if at < begin else Kind.WINDOW for at in range(count)]
