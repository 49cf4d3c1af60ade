"""Whether a value follows a schema whose shapes are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

from openllm.answer.schema.document import Goal
from openllm.answer.schema.explored import Explored
from openllm.answer.schema.instances import kind, same_key
from openllm.answer.schema.merging import within
from openllm.answer.schema.shapes import Array, Listed, Number, Object, Shape, TextShape
from openllm.answer.schema.text.automaton import follows as text_follows

_CLOSING = ("additionalProperties", "unevaluatedProperties")


def follows(found: Explored, goal: Goal, value: object) -> bool:
    """Whether a JSON value, its fractions as decimals, follows a goal. Errors: PatternError for a
    pattern that is too large.
    """
    return not goal or any(_has(found, shape, value) for shape in found.shapes.get(goal, ()))


def _has(found: Explored, shape: Shape, value: object) -> bool:
    """Whether a value is of a shape."""
    if isinstance(shape, Listed):
        return same_key(value) in map(same_key, listed_values(shape))
    if isinstance(shape, TextShape):
        return isinstance(value, str) and text_follows(shape.wanted, value)
    if isinstance(shape, Number):
        return _is_number(shape, value)
    if isinstance(shape, Object):
        return isinstance(value, Mapping) and _is_object(found, shape, value)
    return isinstance(value, list) and _is_array(found, shape, value)


def listed_values(shape: Listed) -> list[object]:
    """The values that a shape lists, as they are."""
    return [json.loads(value, parse_float=Decimal) for value in shape.values]


def _is_number(shape: Number, value: object) -> bool:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        return False
    wanted, number = shape.wanted, Decimal(value)
    if number in wanted.excluded or (wanted.integer and kind(value) != "integer"):
        return False
    return within(wanted, number)


def _is_object(found: Explored, shape: Object, value: Mapping[str, object]) -> bool:
    named = {one.name: one for one in shape.properties}
    if any(one.required and one.name not in value for one in shape.properties):
        return False
    if len(value) < shape.least or (shape.most is not None and len(value) > shape.most):
        return False
    for name, own in value.items():
        if name in named:
            if not follows(found, named[name].goal, own):
                return False
        elif not _may_have(found, shape, name, own):
            return False
    return True


def _may_have(found: Explored, shape: Object, name: str, value: object) -> bool:
    """Whether an object may have a property that is not listed."""
    kinds = [free for free in shape.free if text_follows(free.name, name)]
    if kinds:
        return any(follows(found, free.goal, value) for free in kinds)
    return not any(place.get(keyword) is False for place in shape.case for keyword in _CLOSING)


def _is_array(found: Explored, shape: Array, value: Sequence[object]) -> bool:
    if len(value) < shape.least or (shape.most is not None and len(value) > shape.most):
        return False
    rest = value[len(shape.prefix) :]
    if rest and (shape.rest is None or not all(follows(found, shape.rest, own) for own in rest)):
        return False
    if not all(follows(found, goal, own) for goal, own in zip(shape.prefix, value, strict=False)):
        return False
    if shape.unique and len(set(map(same_key, value))) < len(value):
        return False
    wanted = shape.contains
    return wanted is None or any(follows(found, wanted, own) for own in value)
