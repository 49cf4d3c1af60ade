"""The shapes of known models agree with how many parameters their cards say."""

from __future__ import annotations

import pytest

from openllm import models
from openllm.hardware.sequence import kept_by
from openllm.models.base import LLMConfig
from openllm.models.shape import KnownShape

KNOWN = [
    pytest.param(family, model_id, id=model_id)
    for family in models.all_families()
    for model_id in family.shapes
]


def numbers(shape: KnownShape, *, gated: bool) -> int:
    """Of the matrices that a shape tells of: tables, attention, MLPs or experts."""
    width = shape.head_dim or shape.hidden // shape.heads
    attention = 2 * shape.hidden * width * (shape.heads + shape.kv_heads)
    inner = (3 if gated else 2) * shape.hidden * (shape.expert_width or shape.intermediate)
    inside = (inner + shape.hidden) * shape.experts if shape.experts else inner
    tables = shape.vocab * shape.hidden * (1 if shape.tied else 2)
    return tables + shape.layers * (attention + inside)


@pytest.mark.parametrize(("family", "model_id"), KNOWN)
def test_a_shape_has_the_parameters_of_its_card(family: type[LLMConfig], model_id: str) -> None:
    shape, card = family.shapes[model_id], family.models[model_id]
    found = numbers(shape, gated=family.task == "generate" or family.name == "qwen3_embedding")
    sees = "vision" in family.words_of(model_id).split()
    stored_twice = shape.vocab * shape.hidden if shape.tied else 0
    # a head that is tied is stored all the same by some small ones
    most = found * 1.02 + (stored_twice if card.parameters < 2.5e9 else 0)
    assert found * 0.97 <= card.parameters
    assert card.parameters <= most + (1.2e9 if sees else 0)


@pytest.mark.parametrize(("family", "model_id"), KNOWN)
def test_a_shape_is_read_by_the_plan(family: type[LLMConfig], model_id: str) -> None:
    shape, card = family.shapes[model_id], family.models[model_id]
    kept = kept_by(shape.config(card.context))
    token = 2 * shape.kv_heads * (shape.head_dim or shape.hidden // shape.heads)
    windowed = sum(count for _, count in kept.windowed)
    assert kept.full + windowed == shape.layers * token
    assert (kept.full == 0) == (shape.window > 0 and not shape.every)
    assert shape.heads % shape.kv_heads == 0
