"""What a sequence makes a model keep, by the kind of its layers."""

from __future__ import annotations

from typing import Any

import pytest

from openllm.facts import MemoryUse
from openllm.hardware.sequence import kept_by

ALL, SOME = MemoryUse(block=16), MemoryUse(block=16, windows=True)
DENSE: dict[str, Any] = {
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
}
TOKEN = 2 * 2 * 64  # numbers of keys and values in one layer of DENSE
LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 32,
}
CONVOLVED = (2 * 2 * 16 + 4 * 32) * 4


@pytest.mark.parametrize(
    ("fields", "full", "windowed", "state", "recurrent"),
    [
        ({}, 4, 0, 0, 0),
        ({"sliding_window": None}, 4, 0, 0, 0),
        ({"sliding_window": 256}, 0, 4, 0, 0),  # Mistral
        ({"sliding_window": 256, "use_sliding_window": False}, 4, 0, 0, 0),  # Qwen 2
        ({"sliding_window": 256, "use_sliding_window": True, "max_window_layers": 3}, 3, 1, 0, 0),
        ({"sliding_window": 256, "model_type": "gemma2"}, 2, 2, 0, 0),
        ({"sliding_window": 256, "sliding_window_pattern": 4}, 1, 3, 0, 0),
        (
            {"sliding_window": 256, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
            *(1, 3, 0, 0),
        ),
        (
            {"sliding_window": 256, "num_kv_shared_layers": 1, "sliding_window_pattern": 2},
            1,
            2,
            0,
            0,
        ),
        ({"full_attention_interval": 4, **LINEAR}, 1, 0, 3 * CONVOLVED, 3 * 4 * 32 * 16),
        ({"full_attn_idxs": [1, 2], "conv_L_cache": 3}, 2, 0, 2 * 512 * 3, 0),  # LFM 2
        (
            {"attn_layer_period": 4, "attn_layer_offset": 1, "mamba_d_state": 16},
            *(1, 0, 3 * 1024 * 4, 3 * 1024 * 16),
        ),  # Jamba
        (
            {"hybrid_override_pattern": "M*-M", "mamba_num_heads": 8, "mamba_head_dim": 32}
            | {"ssm_state_size": 16, "n_groups": 2},
            *(1, 0, 2 * (256 + 64) * 4, 2 * 256 * 16),
        ),  # Nemotron H
        (
            {"model_type": "falcon_h1", "mamba_d_ssm": 0, "mamba_d_state": 16},
            *(4, 0, 4 * 1024 * 4, 4 * 1024 * 16),
        ),
    ],
)
def test_each_kind_of_layer_counts(
    fields: dict[str, Any], full: int, windowed: int, state: int, recurrent: int
) -> None:
    kept = kept_by({**DENSE, **fields})
    assert kept.full == full * TOKEN
    assert sum(numbers for _, numbers in kept.windowed) == windowed * TOKEN
    assert (kept.state, kept.recurrent) == (state, recurrent)


def test_latent_attention_keeps_one_vector_for_all_heads() -> None:
    kept = kept_by({**DENSE, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 128})
    assert kept.full == 4 * 576


def test_a_state_space_model_keeps_no_tokens() -> None:
    mamba = {"model_type": "mamba", "num_hidden_layers": 2, "hidden_size": 64, "state_size": 16}
    kept = kept_by(mamba)
    assert (kept.full, kept.state, kept.recurrent) == (0, 2 * 128 * 4, 2 * 128 * 16)
    one, many = (kept.sequence_bytes(tokens, 2, ALL) for tokens in (16, 16_000))
    assert one == many > 0
    assert kept.sequence_bytes(16, 2, MemoryUse(states=3)) == 3 * one


def test_what_the_configuration_leaves_out_is_told_by_the_weights() -> None:
    """Gemma 3's says neither heads nor their width."""
    kept = kept_by({"text_config": {"num_hidden_layers": 2, "sliding_window": 8}}, (512, 512))
    assert kept.windowed == ((8, 1024),)
    assert kept_by({}, (512, 512, 512)).full == 1536


def test_an_engine_that_forgets_needs_less_for_a_long_text() -> None:
    kept = kept_by({**DENSE, "sliding_window": 64, "sliding_window_pattern": 2})
    short = [kept.sequence_bytes(64, 2, use) for use in (ALL, SOME)]
    assert short[0] == short[1] == 64 * 4 * TOKEN * 2
    assert kept.sequence_bytes(1024, 2, ALL) == 1024 * 4 * TOKEN * 2
    assert kept.sequence_bytes(1024, 2, SOME) == (1024 + 64) * 2 * TOKEN * 2


def test_the_longest_that_fits_is_the_last_that_does() -> None:
    kept = kept_by(DENSE)
    room = kept.sequence_bytes(160, 2, ALL)
    assert kept.longest(room, 2, ALL) == 160
    assert kept.longest(room - 1, 2, ALL) == 144
    assert kept.longest(0, 2, ALL) == 0
