"""How many GPUs share a model when nobody said it."""

from __future__ import annotations

import pytest

from openllm.errors import ConfigurationError
from openllm.hardware.parallel import plan_parallel
from openllm.hardware.shape import ModelShape, model_shape

LLAMA_70B = ModelShape(
    layers=80, heads=64, kv_heads=8, head_dim=128, vocab=128256, intermediate=28672
)
SMOL = ModelShape(layers=30, heads=9, kv_heads=3, head_dim=64, vocab=49152, intermediate=1536)


@pytest.mark.parametrize(
    ("shape", "gpus", "tensor"),
    [
        (LLAMA_70B, 0, 1),
        (LLAMA_70B, 1, 1),
        (LLAMA_70B, 2, 2),
        (LLAMA_70B, 3, 2),
        (LLAMA_70B, 8, 8),
        (LLAMA_70B, 16, 16),  # key/value heads are copied
        (LLAMA_70B, 6, 4),
        (SMOL, 2, 1),
        (SMOL, 4, 3),
        (ModelShape(), 8, 1),  # nothing is known of the model
        (ModelShape(heads=8, kv_heads=8, vocab=100, intermediate=64), 4, 4),
        (
            ModelShape(heads=9, kv_heads=9, vocab=64, intermediate=96),
            3,
            1,
        ),  # the padded vocabulary does not split
    ],
)
def test_the_largest_number_that_divides_the_model(
    shape: ModelShape, gpus: int, tensor: int
) -> None:
    assert plan_parallel(shape, gpus).tensor == tensor


def test_what_was_said_wins() -> None:
    plan = plan_parallel(LLAMA_70B, 8, tensor=2)
    assert (plan.tensor, plan.pipeline) == (2, 1)
    assert plan_parallel(LLAMA_70B, 8, pipeline=2).tensor == 4
    two_hosts = plan_parallel(LLAMA_70B, 8, tensor=8, pipeline=2)
    assert (two_hosts.tensor, two_hosts.pipeline) == (8, 2)
    assert "pipeline_parallel_size=2" in two_hosts.line


def test_copies_and_experts_are_in_the_plan() -> None:
    plan = plan_parallel(LLAMA_70B, 8, data=2)
    assert (plan.tensor, plan.pipeline, plan.data) == (4, 1, 2)
    assert "data_parallel_size=2 (8 GPUs in all)" in plan.line
    mixtral = model_shape({"num_local_experts": 8, "num_attention_heads": 8, "vocab_size": 64})
    spread = plan_parallel(mixtral, 2, tensor=1, data=2, experts=True)
    assert "8 experts spread over 2" in spread.line
    with pytest.raises(ConfigurationError, match="this model has none"):
        plan_parallel(LLAMA_70B, 8, experts=True)


def test_the_line_says_what_was_seen() -> None:
    line = plan_parallel(LLAMA_70B, 3).line
    for word in (
        "3 GPUs",
        "64 heads",
        "8 key/value heads",
        "tensor_parallel_size=2",
        "1 of 3 GPUs stay idle",
    ):
        assert word in line
    assert "\n" not in line


def test_shapes_are_read_from_any_family() -> None:
    llama = model_shape(
        {
            "num_attention_heads": 32,
            "num_hidden_layers": 16,
            "hidden_size": 2048,
            "vocab_size": 128256,
        }
    )
    assert (llama.kv_heads, llama.head_dim) == (32, 64)
    gpt2 = model_shape(
        {"n_head": 12, "n_layer": 12, "n_embd": 768, "vocab_size": 50257, "n_positions": 1024}
    )
    assert (gpt2.heads, gpt2.head_dim, gpt2.longest) == (12, 64, 1024)
    nested = model_shape(
        {"text_config": {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256}}
    )
    assert (nested.heads, nested.kv_heads, nested.head_dim) == (8, 2, 256)
    assert model_shape({}).kv_bytes_per_token("float32") == 0
    assert LLAMA_70B.kv_bytes_per_token("bfloat16") == 2 * 80 * 8 * 128 * 2
