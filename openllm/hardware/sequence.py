"""What a model keeps of each sequence while it is served: keys and values of all its tokens or of a
window, latent vectors, states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from openllm.facts import MemoryUse
from openllm.hardware.fields import first, flag, text_fields
from openllm.hardware.layers import Kind, layer_kinds
from openllm.hardware.shape import hidden_size

FLOAT32 = 4  # bytes; engines carry recurrent states in it, whatever the weights are


@attrs.frozen
class Kept:
    """Numbers that one sequence makes a model keep, all layers together."""

    full: int = 0  # of each token
    windowed: tuple[tuple[int, int], ...] = ()  # (tokens of the window, numbers of each token)
    state: int = 0  # however long it is, in the format of keys and values
    recurrent: int = 0  # however long it is, in fp32
    latent: bool = False  # one vector of a token for all heads

    def sequence_bytes(self, tokens: int, item: float, use: MemoryUse) -> int:
        """Of a sequence of `tokens` with `item` bytes a number, in whole blocks of the engine's."""
        held = -(-tokens // use.block) * use.block
        total = self.full * held * item
        for window, numbers in self.windowed:
            reach = min(held, -(-window // use.block) * use.block) if use.windows else held
            total += numbers * reach * item
        return int(total + use.states * (self.state * item + self.recurrent * FLOAT32))

    def longest(self, room: float, item: float, use: MemoryUse) -> int:
        """Tokens of the longest sequence that `room` bytes hold, up to 2^24; whole blocks."""
        low, high = 0, 2**24 // use.block
        while low < high:
            middle = (low + high + 1) // 2
            if self.sequence_bytes(middle * use.block, item, use) <= room:
                low = middle
            else:
                high = middle - 1
        return low * use.block


def kept_by(config: Mapping[str, Any], widths: Sequence[int] = ()) -> Kept:
    """What a sequence makes the model of `config` keep. `widths` are the numbers of a token's keys
    and values in each layer, as the weights' shapes show them; they count where the configuration
    leaves them to its class's defaults.
    """
    fields = text_fields(config)
    kinds = layer_kinds(fields, len(widths))
    shared = first(fields, "num_kv_shared_layers")
    own = kinds[: len(kinds) - shared] if shared else kinds
    full, windowed = 0, 0
    for at, kind in enumerate(own):
        if kind in (Kind.FULL, Kind.BOTH):
            full += _token_numbers(fields, at, widths, everywhere=True)
        elif kind is Kind.WINDOW:
            windowed += _token_numbers(fields, at, widths, everywhere=False)
    stateful = sum(kind in (Kind.STATE, Kind.BOTH) for kind in kinds)
    state, recurrent = state_numbers(fields)
    window = _window(fields)
    return Kept(
        full=full + (0 if window else windowed),
        windowed=((window, windowed),) if window and windowed else (),
        state=stateful * state,
        recurrent=stateful * recurrent,
        latent=first(fields, "kv_lora_rank") > 0,
    )


def _window(fields: Mapping[str, Any]) -> int:
    return first(fields, "sliding_window", "attention_window_size", "attention_chunk_size")


def _token_numbers(
    fields: Mapping[str, Any], at: int, widths: Sequence[int], *, everywhere: bool
) -> int:
    """Numbers that layer `at` keeps of a token; `everywhere`: it attends to all tokens, for which
    some models have other heads.
    """
    if rank := first(fields, "kv_lora_rank"):
        indexer = first(fields, "index_head_dim")  # of sparse attention, in fp8 with a scale
        return rank + first(fields, "qk_rope_head_dim") + (indexer + 4 if indexer else 0) // 2
    heads = first(fields, "num_attention_heads", "n_head", "num_heads")
    if not heads and at < len(widths):
        return widths[at]
    kept = first(fields, "num_key_value_heads", "num_kv_heads", "n_head_kv")
    kept = kept or (1 if flag(fields, "multi_query") else heads)
    width = first(fields, "head_dim", "d_kv", "attention_head_dim")
    width = width or (hidden_size(fields) // heads if heads else 0)
    if everywhere:
        kept = first(fields, "num_global_key_value_heads") or kept
        width = first(fields, "global_head_dim") or width
    values = first(fields, "v_head_dim") or width
    # an encoder's keys and values are kept for each layer of the decoder beside its own
    crossed = 2 if flag(fields, "is_encoder_decoder") else 1
    return crossed * kept * (width + values)


def state_numbers(fields: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of one layer's state: those of its convolution, and those that recur; (0, 0) where
    the configuration has no words of such layers.
    """
    hidden = hidden_size(fields)
    if heads := first(fields, "linear_num_value_heads"):  # Qwen 3 Next: a gated delta rule
        keys = first(fields, "linear_num_key_heads") * first(fields, "linear_key_head_dim")
        width = first(fields, "linear_value_head_dim")
        kernel = first(fields, "linear_conv_kernel_dim") or 4
        return (2 * keys + heads * width) * kernel, heads * width * first(
            fields, "linear_key_head_dim"
        )
    linear = fields.get("linear_attn_config")
    if isinstance(linear, Mapping):  # Kimi Linear
        heads, width = first(linear, "num_heads"), first(linear, "head_dim")
        kernel = first(linear, "short_conv_kernel_size") or 4
        return 3 * heads * width * kernel, heads * width * width
    if kernel := first(fields, "conv_L_cache"):  # LFM 2: a short convolution alone
        return (first(fields, "conv_dim") or hidden) * kernel, 0
    if width := first(fields, "lru_width"):  # Recurrent Gemma
        return width * (first(fields, "conv1d_width") or 4), width
    size = first(fields, "mamba_d_state", "ssm_state_size", "state_size")
    if size:
        return _mamba_numbers(fields, hidden, size)
    heads = first(fields, "num_attention_heads")
    width = first(fields, "head_dim") or (hidden // heads if heads else 0)
    return 0, heads * width * width  # MiniMax: a matrix for each head


def _mamba_numbers(fields: Mapping[str, Any], hidden: int, size: int) -> tuple[int, int]:
    """Of a layer of Mamba, or of Mamba 2, which has heads and groups."""
    kernel = first(fields, "mamba_d_conv", "conv_kernel") or 4
    expand = first(fields, "mamba_expand", "expand") or 2
    # Mamba has no heads; num_heads is Mamba 2's only where nothing attends.
    heads = first(fields, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads")
    width = first(fields, "mamba_d_head", "mamba_head_dim", "mamba_headdim")
    if not heads and not first(fields, "num_attention_heads"):
        heads, width = first(fields, "num_heads"), first(fields, "head_dim")
    if not heads:
        inner = first(fields, "mamba_d_inner") or expand * hidden
        return inner * kernel, inner * size
    inner = heads * width if width else expand * hidden
    groups = first(fields, "mamba_n_groups", "n_groups", "mamba_ngroups") or 1
    return (inner + 2 * groups * size) * kernel, inner * size
