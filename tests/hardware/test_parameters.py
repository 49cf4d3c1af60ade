"""Bytes of loaded weights, told from the headers of their files."""

from __future__ import annotations

import math

import pytest

from openllm.hardware.parameters import guessed_parts, key_value_widths, loaded_parts
from openllm.weights.checkpoint import TensorInfo

SIZES = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "U8": 1, "I32": 4}


def tensor(*shape: int, dtype: str = "BF16") -> TensorInfo:
    return TensorInfo(dtype, shape, (100, 100 + SIZES[dtype] * math.prod(shape)))


DENSE = {
    "model.embed_tokens.weight": tensor(1000, 64),
    "model.layers.0.self_attn.k_proj.weight": tensor(32, 64),
    "model.layers.0.self_attn.v_proj.weight": tensor(32, 64),
    "model.layers.0.mlp.down_proj.weight": tensor(64, 256),
    "model.layers.0.input_layernorm.weight": tensor(64),
}
TABLE, LINEAR, NORM = 64_000, 2 * 2048 + 16384, 64


@pytest.mark.parametrize(
    ("dtype", "quantization", "size"),
    [
        ("bfloat16", None, 2 * (TABLE + LINEAR + NORM)),
        ("float32", None, 4 * (TABLE + LINEAR + NORM)),
        ("float32", "int8", TABLE + LINEAR + 4 * NORM),  # our own has the table in it
        ("bfloat16", "nf4", 2 * TABLE + 0.5625 * LINEAR + 2 * NORM),
        ("bfloat16", "fp8", 2 * TABLE + LINEAR + 2 * NORM),
    ],
)
def test_weights_are_counted_as_they_are_loaded(
    dtype: str, quantization: str | None, size: float
) -> None:
    parts = loaded_parts(DENSE, {}, dtype, quantization)
    assert parts.total == parts.dense == int(size)
    assert parts.tied  # there is no head beside the table
    assert parts.stored == 2 * (TABLE + LINEAR + NORM)


def test_experts_and_towers_are_parts_of_their_own() -> None:
    more = {
        "lm_head.weight": tensor(1000, 64),
        "model.layers.0.mlp.experts.0.up_proj.weight": tensor(128, 64),
        "model.layers.0.mlp.experts.1.up_proj.weight": tensor(128, 64),
        "model.vision_tower.layers.0.k_proj.weight": tensor(64, 64),
    }
    parts = loaded_parts({**DENSE, **more}, {}, "bfloat16")
    assert (parts.experts, parts.sight) == (2 * 2 * 128 * 64, 2 * 64 * 64)
    assert parts.apart == parts.experts  # stored one by one
    assert not parts.tied
    assert key_value_widths({**DENSE, **more}) == (64,)  # of the text alone


def test_what_is_quantized_already_stays_so() -> None:
    packed = {
        "model.layers.0.mlp.down_proj.weight": tensor(64, 256, dtype="F8_E4M3"),
        "model.layers.0.mlp.up_proj.qweight": tensor(8, 256, dtype="I32"),
        "model.layers.0.mlp.up_proj.scales": tensor(2, 256),
    }
    parts = loaded_parts(packed, {}, "float32")
    assert parts.total == 64 * 256 + 4 * 8 * 256 + 4 * 2 * 256


def test_layers_that_only_draft_are_not_loaded() -> None:
    """DeepSeek V3's files have one layer more than its model."""
    config = {"num_hidden_layers": 1, "num_nextn_predict_layers": 1}
    later = {
        "model.layers.1.mlp.down_proj.weight": tensor(64, 256),
        "mtp.fc.weight": tensor(64, 64),
    }
    same = loaded_parts({**DENSE, **later}, config, "bfloat16")
    assert same.total == loaded_parts(DENSE, config, "bfloat16").total


def test_where_only_the_sum_is_known_the_configuration_tells_the_format() -> None:
    config = {"torch_dtype": "bfloat16", "vocab_size": 1000, "hidden_size": 64, "num_experts": 8}
    size = 10**9
    assert guessed_parts(size, config, "bfloat16").total == size
    assert guessed_parts(size, config, "float32").total == 2 * size
    assert guessed_parts(size, config, "bfloat16").experts > 0.99 * size
    packed = {**config, "quantization_config": {"quant_method": "fp8"}}
    assert guessed_parts(size, packed, "bfloat16", "nf4").total == size
    quarter = guessed_parts(size, config, "bfloat16", "nf4").total
    assert 0.28 * size < quarter < 0.29 * size
